// One Chromium among fifty viewers: nobody loses anything.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { Box, Child, ffmpeg, until } from './support/box.mjs';
import { launch, open, pictureMoves } from './support/browser.mjs';

const VIEWERS =
  process.env.VIEWERS ?? new URL('../../target/debug/examples/viewers', import.meta.url).pathname;

let browser;
let box;
let source;

before(async () => {
  assert.ok(existsSync(VIEWERS), `no ${VIEWERS}: cargo build --example viewers`);
  box = await Box.start();
  source = ffmpeg(box, { size: '1280x720', bitrate: '4M' });
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await source?.stop();
  await box?.stop();
});

/** The browser's own count of the video it receives. */
const received = (page) =>
  page.evaluate(async () => {
    const [peer] = window.peers.slice(-1);
    const stats = [...(await peer.getStats()).values()];
    const video = stats.find(({ type, kind }) => type === 'inbound-rtp' && kind === 'video');
    const { packetsReceived, packetsLost, framesDecoded, framesDropped, freezeCount, nackCount, pliCount } =
      video;
    return { packetsReceived, packetsLost, framesDecoded, framesDropped, freezeCount, nackCount, pliCount };
  });

test('49 viewers that count and one Chromium, 10 s, nothing lost', { timeout: 90_000 }, async () => {
  await until('the feed', async () =>
    (await box.status()).streams.some((one) => one.live && one.tracks.some(({ width }) => width)),
  );
  const page = await open(browser, 'about:blank');
  await page.addInitScript(() => {
    window.peers = [];
    const Peer = window.RTCPeerConnection;
    window.RTCPeerConnection = class extends Peer {
      constructor(...args) {
        super(...args);
        window.peers.push(this);
      }
    };
  });
  await page.goto(`${box.base}/pgm`);
  await pictureMoves(page, 30);
  const before = await received(page);
  const load = new Child(VIEWERS, [`${box.base}/pgm/whep`, '49', '10']);
  await load.ended;
  const after = await received(page);
  const counted = JSON.parse(
    load
      .said()
      .split('\n')
      .find((line) => line.startsWith('{')) ?? '{}',
  );
  console.log('49 viewers:', JSON.stringify(counted));
  console.log('Chromium:', JSON.stringify(after));
  assert.equal(counted.viewers, 49, load.said());
  assert.deepEqual(
    [counted.lost, counted.broken_frames, counted.undecipherable, counted.ended],
    [0, 0, 0, 0],
    load.said(),
  );
  assert.ok(counted.fewest_frames >= 270, 'about 30 pictures a second for 10 s');
  assert.equal(after.packetsLost, 0);
  assert.ok(after.framesDecoded - before.framesDecoded >= 250, JSON.stringify([before, after]));
  await page.context().close();
});
