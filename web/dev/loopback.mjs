// Plays a real WebRTC session in headless Chromium: a second page stands in for the box's WHEP endpoint and sends a
// canvas, the mock for the rest. Shows what only a browser can: that the player plays, measures its delay, notices a
// pause, keeps the session through it, and replaces it when the connection is gone.
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
    window.answers = [];
    window.answer = async (sdp) => {
      const peer = new RTCPeerConnection();
      window.answers.push(peer);
      await peer.setRemoteDescription({ type: 'offer', sdp });
      const [track] = canvas.captureStream(30).getTracks();
      peer.addTrack(track);
      await peer.setLocalDescription(await peer.createAnswer());
      while (peer.iceGatheringState !== 'complete') await new Promise((resolve) => setTimeout(resolve, 20));
      return peer.localDescription.sdp;
    };
  });

  const page = await context.newPage();
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (line) => line.type() === 'error' && complaints.push(line.text()));
  const calls = { POST: 0, GET: 0, DELETE: 0 };
  await context.route('**/whep**', async (route) => {
    const request = route.request();
    calls[request.method()] += 1;
    if (request.method() !== 'POST') return route.fulfill({ status: 204 });
    const body = await sender.evaluate((sdp) => window.answer(sdp), request.postData());
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
  assert.equal(calls.POST, 1, 'the session outlives the pause');

  await sender.evaluate(() => window.answers[0].close());
  since = Date.now();
  await picture('bad');
  for (let waited = 0; calls.POST < 2 && waited < 15_000; waited += 50) await page.waitForTimeout(50);
  assert.equal(calls.POST, 2, 'a closed connection is replaced');
  await picture('good');
  assert.equal(calls.DELETE, 1, 'and the box told so');
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
  assert.equal(calls.DELETE + mock.state.deleted, 2, 'leaving ends the session');
  assert.deepEqual(complaints, []);
  console.log('leaving ends the session; nothing in the console');
} finally {
  await browser.close();
  mock.stop();
}
