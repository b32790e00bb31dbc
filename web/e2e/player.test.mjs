// A WHEP player that is not ours, from another origin.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { build } from 'vite';
import { Box, ffmpeg, until } from './support/box.mjs';
import { launch, open, pictureMoves } from './support/browser.mjs';

let browser;
let box;
let source;
let site;

const ENTRY = '\0player';
const SCRIPT = `
  import { WebRTCPlayer } from '@eyevinn/webrtc-player';
  const video = document.querySelector('video');
  const player = new WebRTCPlayer({ video, type: 'whep', iceServers: [], statsTypeFilter: '^inbound-rtp' });
  window.player = player;
  player.load(new URL(new URLSearchParams(location.search).get('whep')));
`;

async function bundle() {
  const [result] = [
    await build({
      configFile: false,
      logLevel: 'error',
      root: new URL('.', import.meta.url).pathname,
      plugins: [
        {
          name: 'entry',
          resolveId: (id) => (id === 'virtual:player' ? ENTRY : null),
          load: (id) => (id === ENTRY ? SCRIPT : null),
        },
      ],
      build: {
        write: false,
        minify: false,
        rollupOptions: { input: 'virtual:player', output: { format: 'iife' } },
      },
    }),
  ].flat();
  return result.output[0].code;
}

before(async () => {
  box = await Box.start();
  source = ffmpeg(box);
  const script = await bundle();
  site = createServer((incoming, outgoing) => {
    const isScript = incoming.url === '/player.js';
    outgoing.setHeader('content-type', isScript ? 'text/javascript' : 'text/html');
    outgoing.end(
      isScript ? script : '<!doctype html><video autoplay muted></video><script src="/player.js"></script>',
    );
  });
  await new Promise((resolve) => site.listen(0, '127.0.0.1', resolve));
  browser = await launch();
});

after(async () => {
  await browser?.close();
  site?.closeAllConnections();
  site?.close();
  await source?.stop();
  await box?.stop();
});

test('@eyevinn/webrtc-player plays the feed', { timeout: 60_000 }, async () => {
  await until('the feed', async () =>
    (await box.status()).streams.some((stream) => stream.live && stream.tracks.some(({ width }) => width)),
  );
  const whep = encodeURIComponent(`${box.base}/pgm/whep`);
  const page = await open(browser, `http://127.0.0.1:${site.address().port}/?whep=${whep}`);
  await pictureMoves(page, 60);
  assert.deepEqual(page.faults, []);
  await page.evaluate(() => window.player.unload());
  await until('the session to be gone', async () => {
    const { streams } = await box.status();
    return streams.every((stream) => stream.viewers === 0);
  });
  await page.context().close();
});
