// Plays a real WebRTC session in headless Chromium: a second page stands in for the box's WHEP endpoint and sends a
// canvas and two tones, the mock for the rest. Shows what only a browser can: that the player plays, hides what is
// older than the edge, is heard after a tap and in stereo, notices a pause, keeps the session through it, and replaces
// it when the connection is gone.
//   npm run build && node dev/loopback.mjs
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';
import { startMock } from './mock.mjs';

const mock = await startMock({ hold: true });
const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-features=WebRtcHideLocalIpsWithMdns'],
});
try {
  const context = await browser.newContext();
  const sender = await context.newPage();
  await sender.goto('about:blank');
  await sender.evaluate(() => {
    const canvas = document.createElement('canvas');
    canvas.width = 640;
    canvas.height = 360;
    const paint = canvas.getContext('2d');
    let n = 0;
    window.paused = false;
    setInterval(() => {
      if (window.paused) return;
      n += 1;
      paint.fillStyle = `hsl(${n * 3} 60% 40%)`;
      paint.fillRect(0, 0, 640, 360);
      paint.fillStyle = '#fff';
      paint.font = '60px monospace';
      paint.fillText(String(n), 200, 200);
    }, 33);
    const sound = new AudioContext();
    const out = sound.createMediaStreamDestination();
    const both = sound.createChannelMerger(2);
    // Left is 20 dB louder than right.
    [0.5, 0.05].forEach((level, channel) => {
      const tone = sound.createOscillator();
      const gain = sound.createGain();
      gain.gain.value = level;
      tone.connect(gain).connect(both, 0, channel);
      tone.start();
    });
    both.connect(out);
    window.answers = [];
    window.answer = async (sdp) => {
      const peer = new RTCPeerConnection();
      window.answers.push(peer);
      await peer.setRemoteDescription({ type: 'offer', sdp });
      const [track] = canvas.captureStream(30).getTracks();
      peer.addTrack(track, new MediaStream());
      peer.addTrack(out.stream.getTracks()[0], new MediaStream());
      const { type, sdp: plain } = await peer.createAnswer();
      await peer.setLocalDescription({
        type,
        sdp: plain.replace('useinbandfec=1', 'useinbandfec=1;sprop-stereo=1;stereo=1'),
      });
      while (peer.iceGatheringState !== 'complete') await new Promise((resolve) => setTimeout(resolve, 20));
      return peer.localDescription.sdp;
    };
  });

  const page = await context.newPage();
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (line) => line.type() === 'error' && complaints.push(line.text()));
  // The edge is named half a second after the first picture of each session.
  await page.exposeFunction('firstPicture', (rtp) =>
    mock.edge(mock.state.watched.session, (rtp + 45_000) % 2 ** 32),
  );
  await page.addInitScript(watchTheCurtain);
  const calls = { POST: 0, GET: 0, DELETE: 0 };
  await context.route('**/whep**', async (route) => {
    const request = route.request();
    calls[request.method()] += 1;
    if (request.method() !== 'POST') return route.fulfill({ status: 204 });
    const answer = await sender.evaluate((sdp) => window.answer(sdp), request.postData());
    // As the box does it where a viewer wishes for lip sync.
    const inSync = request.url().endsWith('?lip_sync=1');
    const body = inSync ? answer.replace(/^(a=(?:ssrc:\d+ )?msid:)\S+/gm, '$1both') : answer;
    const headers = { Location: `/pgm/whep/${calls.POST}` };
    return route.fulfill({ status: 201, contentType: 'application/sdp', headers, body });
  });
  const picture = (health) => page.waitForSelector(`#picture[data-health="${health}"]`, { timeout: 12_000 });

  await page.goto(`${mock.url}pgm?camera=Camera+1`);
  await picture('good');
  const video = await page.evaluate(() => {
    const { videoWidth, muted, paused } = document.querySelector('video');
    return { videoWidth, muted, paused };
  });
  assert.deepEqual(video, { videoWidth: 640, muted: true, paused: false });
  console.log('plays, muted');

  const curtain = await page.evaluate(() => window.curtain);
  const opened = curtain.findIndex(({ shown }) => shown);
  const ticks = curtain[opened].rtp - curtain[0].rtp;
  console.log(`hidden for ${opened} pictures; the first one seen is ${ticks} ticks after the first one sent`);
  assert.ok(Math.abs(ticks - 45_000) <= 6000, 'nothing before the edge was shown');
  assert.ok(
    curtain.slice(opened).every(({ shown }) => shown),
    'and nothing hidden after it',
  );

  const db = () =>
    page.evaluate(() => [...document.querySelectorAll('#level i')].map((bar) => +bar.dataset.db));
  const heard = () =>
    page.evaluate(async () => {
      const { muted } = document.querySelector('audio');
      const stats = [...(await window.peers.at(-1).getStats()).values()];
      const { jitterBufferDelay, jitterBufferEmittedCount, audioLevel } = stats.find(
        ({ type, kind }) => type === 'inbound-rtp' && kind === 'audio',
      );
      return { muted, audioLevel, heldMs: (jitterBufferDelay / jitterBufferEmittedCount) * 1000 };
    });
  assert.match(await page.textContent('#level'), /Tap for sound/);
  assert.equal((await heard()).muted, true);
  await page.waitForTimeout(5000);
  await page.click('#level');
  await page.waitForTimeout(700);
  const [left, right] = await db();
  const { muted, heldMs } = await heard();
  console.log(`heard after a tap: ${left} and ${right} dBFS, held ${heldMs.toFixed(0)} ms on average`);
  assert.equal(muted, false);
  assert.ok(Math.abs(left + 6) < 3 && Math.abs(left - right - 20) < 3, 'both channels, apart');
  assert.ok(heldMs < 150, 'nothing piled up before the tap');

  await page.click('#level');
  await page.fill('#volume', '30');
  await page.click('#lip-sync');
  await page.waitForSelector('#lip-sync[aria-pressed="true"]');
  await page.keyboard.press('Escape');
  await picture('good');
  const ids = () => page.evaluate(() => window.peers.at(-1).remoteDescription.sdp.match(/^a=msid:\S+/gm));
  const [one, other] = await ids();
  assert.equal(one, other, 'of one media stream');
  assert.equal(calls.POST, 2, 'joined anew for it');
  await page.waitForTimeout(700);
  assert.ok((await db())[0] > -20, 'and still heard');
  assert.equal(await page.evaluate(() => document.querySelector('audio').volume), 0.3);
  await page.click('#level');
  await page.click('#lip-sync');
  await page.waitForSelector('#lip-sync[aria-pressed="false"]');
  await page.keyboard.press('Escape');
  await picture('good');
  assert.notEqual(...(await ids()));
  console.log('volume and lip sync are taken; the sound goes on over new sessions');
  await page.waitForTimeout(2500);
  const began = calls.POST;

  await sender.evaluate(() => {
    window.paused = true;
  });
  let since = Date.now();
  await picture('bad');
  console.log(`pause shown after ${Date.now() - since} ms`);
  await page.waitForTimeout(4000);
  await sender.evaluate(() => {
    window.paused = false;
  });
  since = Date.now();
  await picture('good');
  console.log(`picture back ${Date.now() - since} ms after the source`);
  assert.equal(calls.POST, began, 'the session outlives the pause');

  await sender.evaluate(() => window.answers.at(-1).close());
  since = Date.now();
  await picture('bad');
  for (let waited = 0; calls.POST === began && waited < 15_000; waited += 50) await page.waitForTimeout(50);
  assert.equal(calls.POST, began + 1, 'a closed connection is replaced');
  await picture('good');
  assert.equal(calls.DELETE, began, 'and the box told so');
  console.log(`replaced after ${Date.now() - since} ms`);

  mock.set({ scene: 'silent' });
  since = Date.now();
  await page.waitForSelector('html[data-tally="unknown"]');
  console.log(`NO TALLY ${Date.now() - since} ms after the box fell silent`);
  mock.set({ scene: 'live' });
  await page.waitForSelector('html[data-tally="program"]');
  mock.dropAll();
  await page.waitForSelector('html[data-tally="unknown"]', { timeout: 500 });
  await page.waitForSelector('html[data-tally="program"]', { timeout: 3000 });

  await page.goto('about:blank');
  await sender.waitForTimeout(300);
  // A request of a page that is gone passes by the interception, and arrives at the mock.
  assert.equal(calls.DELETE + mock.state.deleted, began + 1, 'leaving ends the session');
  assert.deepEqual(complaints, []);
  console.log('leaving ends the session; nothing in the console');
} finally {
  await browser.close();
  mock.stop();
}

/** Runs in the page, before its own script: keeps peer connections, and which pictures of the first one were seen. */
function watchTheCurtain() {
  window.peers = [];
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...args) {
      super(...args);
      window.peers.push(this);
    }
  };
  window.curtain = [];
  let last = null;
  const ask = HTMLVideoElement.prototype.requestVideoFrameCallback;
  HTMLVideoElement.prototype.requestVideoFrameCallback = function (tell) {
    return ask.call(this, (now, frame) => {
      const { rtpTimestamp: rtp } = frame;
      // A jump in the timestamps is another session.
      if (last === null || Math.abs(rtp - last) > 900_000) window.firstPicture(rtp);
      last = rtp;
      tell(now, frame);
      requestAnimationFrame(() =>
        setTimeout(() => window.curtain.push({ rtp, shown: getComputedStyle(this).opacity === '1' })),
      );
    });
  };
}
