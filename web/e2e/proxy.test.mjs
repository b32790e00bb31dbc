// Behind a reverse proxy that forwards nothing but `/{name}` and `/ws/`.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
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
const needsNginx = { timeout: 90_000, skip: nginx ? false : 'nginx is not installed' };

/** The nginx of docs/https.md, word for word but for ports, files and addresses: `nth` of the two it shows. */
async function startNginx(target, nth) {
  const home = mkdtempSync(join(tmpdir(), 'returnfeed-nginx-'));
  const port = await freePort();
  const docs = readFileSync(new URL('../../docs/https.md', import.meta.url), 'utf8');
  const block = [...docs.matchAll(/```nginx\n(.*?)```/gs)][nth]?.[1];
  assert.ok(block, 'docs/https.md shows it');
  const server = block
    .replace(/listen 443 ssl http2;/, `listen 127.0.0.1:${port} ssl http2;`)
    .replace(/server_name .*?;/, 'server_name localhost;')
    .replace(/ssl_certificate +\S+;/, `ssl_certificate ${home}/crt;`)
    .replace(/ssl_certificate_key +\S+;/, `ssl_certificate_key ${home}/key;`)
    .replaceAll('http://192.168.1.20:8889', target);
  assert.ok(!/192\.168|tally\.example/.test(server), server);
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
      ${server} }`,
  );
  const child = new Child('/usr/sbin/nginx', ['-c', join(home, 'nginx.conf'), '-p', home]);
  const stop = async () => {
    await child.stop('SIGTERM');
    rmSync(home, { recursive: true, force: true });
  };
  return { base: `https://localhost:${port}`, stop };
}

/** Opens a page through nginx once it is there. */
const through = (url, options) =>
  until('nginx', () => open(browser, url, { anyAuthority: true, ...options }));

/** Asks for an address as it stands, which no browser does; gives the status and where it leads. */
function ask(base, path) {
  const { hostname, port } = new URL(base);
  return new Promise((resolve, reject) => {
    const asked = request({ hostname, port, path, rejectUnauthorized: false }, (answer) => {
      const { location } = answer.headers;
      resolve({ status: answer.statusCode, location: location ? new URL(location, base + path).href : '' });
      answer.resume();
    });
    asked.on('error', reject).end();
  });
}

const NAME = 'pgm_srt_raw';

test('the same behind nginx that speaks HTTPS, with the rules that people have', needsNginx, async () => {
  const proxy = await startNginx(box.base, 1);
  const feed = ffmpeg(box, { streamId: NAME });
  try {
    const page = await through(`${proxy.base}/${NAME}?camera=${KEYS[0]}`);
    await tallyBecomes(page, 'program');
    await pictureMoves(page, 30);
    await until('the delay', () => page.locator('#delay').getAttribute('data-ms'));
    assert.equal(await page.locator('meta[name=returnfeed-trust]').getAttribute('content'), '');
    assert.deepEqual(page.faults, []);
    await page.context().close();
  } finally {
    await feed.stop();
    await proxy.stop();
  }
});

const PIN = '482915';
const PASSWORD = 'correct horse battery';

/** A box that asks for a PIN, and believes the proxy; `send` asks it as its administrator, beside the proxy. */
async function closedBox() {
  const closed = await Box.start({
    http: 'trusted_proxies = ["127.0.0.1"]',
    more: `[access]\nviewing = "pin"\npin = "${PIN}"\n`,
  });
  closed.send = (path, method, body) =>
    fetch(`${closed.base}/api/v1/${path}`, {
      method,
      headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${closed.setupCode()}` },
      body: JSON.stringify(body),
    });
  const set = await closed.send('administrator/password', 'PUT', { password: PASSWORD });
  assert.equal(set.status, 200);
  return closed;
}

/** Somebody opens the page through the proxy, enters the PIN and watches. */
async function watchesByPin(proxy) {
  const page = await through(`${proxy.base}/${NAME}`);
  await page.locator('#pin').waitFor();
  await page.fill('#pin', PIN);
  await page.click('#enter');
  await pictureMoves(page, 10);
  const [cookie] = await page.context().cookies();
  assert.deepEqual(
    [cookie.name, cookie.secure, cookie.httpOnly, cookie.sameSite],
    ['__Host-returnfeed-viewer', true, true, 'Strict'],
    'the box knows that the way to the browser is encrypted',
  );
  await page.context().close();
}

/** Somebody opens a link through the proxy, and watches. */
async function watchesByLink(url) {
  const page = await through(url);
  await pictureMoves(page, 10);
  assert.ok(!page.url().includes('link_'), 'the token has left the address');
  assert.deepEqual(page.faults, []);
  await page.context().close();
}

/** What nginx and the box may read differently leads nowhere. */
async function tricksLeadNowhere(proxy) {
  for (const path of [
    '/../api/v1/status',
    '//api/v1/status',
    '/%2e%2e/api/v1/status',
    '/x/../api/v1/status',
    `/${NAME}/../api/v1/status`,
    `/${NAME}/..%2fapi/v1/status`,
    '/api/v1/session/../status',
    '/join/..%2f..%2fapi%2fv1%2fstatus',
  ]) {
    const { status, location } = await ask(proxy.base, path);
    const leadsNowhere = [400, 401, 403, 404].includes(status) || location.startsWith(`${proxy.base}/`);
    assert.ok(leadsNowhere, `${path}: ${status} ${location}`);
  }
  const slash = await ask(proxy.base, `/${NAME}/`);
  assert.deepEqual([slash.status, slash.location], [307, `${proxy.base}/${NAME}`]);
}

test('PIN, sign-in and links behind nginx that forwards everything', needsNginx, async () => {
  const closed = await closedBox();
  const proxy = await startNginx(closed.base, 0);
  const feed = ffmpeg(closed, { streamId: NAME });
  try {
    await watchesByPin(proxy);
    const admin = await through(`${proxy.base}/admin`);
    await admin.locator('#forgotten').waitFor();
    await admin.fill('#password', PASSWORD);
    await admin.click('#go');
    await admin.locator('#make').waitFor();
    await admin.fill('#name', 'Crane');
    await admin.click('#make');
    await admin.locator('.qr svg').waitFor();
    const url = await admin.locator('#url').textContent();
    assert.ok(url.startsWith(`${proxy.base}/join/link_`), `it leads through the proxy: ${url}`);
    await watchesByLink(`${proxy.base}/${NAME}${new URL(url).pathname}`);
    await admin.context().close();
    await tricksLeadNowhere(proxy);
  } finally {
    await feed.stop();
    await proxy.stop();
    await closed.stop();
  }
});

test('PIN and links behind nginx that forwards little, and no administration', needsNginx, async () => {
  const closed = await closedBox();
  const proxy = await startNginx(closed.base, 1);
  const feed = ffmpeg(closed, { streamId: NAME });
  try {
    await watchesByPin(proxy);
    const made = await closed.send('links', 'POST', { name: 'Crane' });
    const { token } = await made.json();
    await watchesByLink(`${proxy.base}/join/${token}`);
    for (const path of ['/admin', '/api/v1/links', '/api/v1/status', '/api/v1/administrator/password']) {
      // nginx's own: it looks in a folder of its own.
      const { status } = await ask(proxy.base, path);
      assert.ok([403, 404].includes(status), `${path}: ${status}`);
    }
    await tricksLeadNowhere(proxy);
  } finally {
    await feed.stop();
    await proxy.stop();
    await closed.stop();
  }
});

test('the page says what a proxy lacks that lets nobody enter the PIN', { timeout: 60_000 }, async () => {
  const closed = await closedBox();
  const proxy = await Front.start(closed.base);
  try {
    const page = await open(browser, `${proxy.base}/pgm`);
    const words = page.locator('#problem');
    await words.waitFor();
    assert.equal(await words.getAttribute('data-code'), 'pin_needed');
    assert.match(await words.textContent(), /\/api\/v1\/session and \/join\//);
    await page.context().close();
  } finally {
    await proxy.stop();
    await closed.stop();
  }
});
