// Behind a reverse proxy that forwards nothing but `/{name}` and `/ws/`.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Box, Child, ffmpeg, freePort, until } from './support/box.mjs';
import { isMarked, launch, mark, open, pictureMoves, tallyBecomes } from './support/browser.mjs';
import { Front } from './support/proxy.mjs';
import { KEYS, Vmix } from './support/vmix.mjs';

let browser;
let box;
let source;
let vmix;

before(async () => {
  vmix = await Vmix.start();
  box = await Box.start({
    vmixPort: vmix.port,
    http: 'trusted_proxies = ["127.0.0.1"]',
    more: `[https]\nlisten = "127.0.0.1:${await freePort()}"\n`,
  });
  source = ffmpeg(box);
  browser = await launch();
  vmix.setTally('100');
});

after(async () => {
  await browser?.close();
  await source?.stop();
  await box?.stop();
  await vmix?.stop();
});

async function everythingWorks(base, name = 'pgm') {
  const page = await open(browser, `${base}/${name}?camera=${KEYS[0]}`);
  await tallyBecomes(page, 'program');
  await pictureMoves(page, 30);
  const answer = await fetch(`${base}/${name}/whep?lip_sync=maybe`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/sdp' },
    body: 'v=0',
  });
  assert.equal((await answer.json()).code, 'bad_lip_sync', 'queries come through');
  await until('the delay', () => page.locator('#delay').getAttribute('data-ms'));
  assert.deepEqual(page.faults, []);
  return page;
}

test('picture, tally and delay come through a proxy with two rules', { timeout: 60_000 }, async () => {
  const proxy = await Front.start(box.base);
  try {
    const page = await everythingWorks(proxy.base);
    assert.deepEqual(
      proxy.refused.filter((url) => url !== '/favicon.ico'),
      [],
      'the page asks for nothing else',
    );
    await page.context().close();
  } finally {
    await proxy.stop();
  }
});

test('a link that goes silent: NO TALLY by itself within 2 s, and back', { timeout: 60_000 }, async () => {
  const proxy = await Front.start(box.base);
  try {
    const page = await everythingWorks(proxy.base);
    await mark(page);
    const began = performance.now();
    proxy.silence();
    await tallyBecomes(page, 'unknown', 6000);
    const took = performance.now() - began;
    console.log(`silent link to NO TALLY: ${took.toFixed(0)} ms`);
    assert.ok(took <= 2300, `${took} ms`);
    await tallyBecomes(page, 'program', 20_000);
    proxy.cut();
    await tallyBecomes(page, 'program', 20_000);
    assert.ok(await isMarked(page), 'without a reload');
    await page.context().close();
  } finally {
    await proxy.stop();
  }
});

const nginx = spawnSync('/usr/sbin/nginx', ['-v']).status === 0;

test('the same behind nginx that speaks HTTPS, with the rules that people have', {
  timeout: 90_000,
  skip: nginx ? false : 'nginx is not installed',
}, async () => {
  const home = mkdtempSync(join(tmpdir(), 'returnfeed-nginx-'));
  const port = await freePort();
  // As in docs/https.md.
  const name = 'pgm_srt_raw';
  const forward = `proxy_pass http://127.0.0.1:${box.httpPort}; proxy_http_version 1.1; proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade; proxy_read_timeout 1h;`;
  const places = [`/${name}`, `/${name}/whep`, '/ws/'].map((place) => `location ${place} { ${forward} }`);
  execFileSync('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '30'],
    ...['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'],
    ...['-keyout', join(home, 'key'), '-out', join(home, 'crt')],
  ]);
  writeFileSync(
    join(home, 'nginx.conf'),
    `pid ${home}/pid; error_log ${home}/error.log; daemon off; events {}
    http { access_log off; client_body_temp_path ${home}/a; proxy_temp_path ${home}/b; fastcgi_temp_path ${home}/c;
      uwsgi_temp_path ${home}/d; scgi_temp_path ${home}/e;
      map $http_upgrade $connection_upgrade { default upgrade; '' close; }
      server { listen 127.0.0.1:${port} ssl http2; ssl_certificate ${home}/crt; ssl_certificate_key ${home}/key;
        ${places.join(' ')} } }`,
  );
  const server = new Child('/usr/sbin/nginx', ['-c', join(home, 'nginx.conf'), '-p', home]);
  const feed = ffmpeg(box, { streamId: name });
  try {
    const base = `https://localhost:${port}`;
    const page = await until('nginx', () =>
      open(browser, `${base}/${name}?camera=${KEYS[0]}`, { anyAuthority: true }),
    );
    await tallyBecomes(page, 'program');
    await pictureMoves(page, 30);
    await until('the delay', () => page.locator('#delay').getAttribute('data-ms'));
    assert.equal(await page.locator('meta[name=returnfeed-trust]').getAttribute('content'), '');
    assert.deepEqual(page.faults, []);
    await page.context().close();
  } finally {
    await feed.stop();
    await server.stop('SIGTERM');
    rmSync(home, { recursive: true, force: true });
  }
});
