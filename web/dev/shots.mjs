// Takes pictures of every view in every size with headless Chromium, against the mock, for people to look at.
//   npm run build && npm run shots [-- DIRECTORY]
// The peer connection is replaced in the page by one whose picture is a canvas.
import { mkdirSync } from 'node:fs';
import { chromium } from 'playwright-core';
import { startMock } from './mock.mjs';

const out = process.argv[2] ?? 'shots';
mkdirSync(out, { recursive: true });
const SIZES = [
  [360, 740],
  [740, 360],
  [1280, 720],
];

/** Runs in the page, before its own script. */
function fakePeer() {
  const canvas = document.createElement('canvas');
  canvas.width = 1280;
  canvas.height = 720;
  const paint = canvas.getContext('2d');
  let n = 0;
  setInterval(() => {
    if (window.frozen) return;
    n += 1;
    const sky = paint.createLinearGradient(0, 0, 0, 720);
    sky.addColorStop(0, '#27405c');
    sky.addColorStop(0.6, '#b98a5e');
    sky.addColorStop(1, '#2d2a26');
    paint.fillStyle = sky;
    paint.fillRect(0, 0, 1280, 720);
    paint.fillStyle = '#f2e2b8';
    paint.beginPath();
    paint.arc(300 + ((n * 4) % 700), 300, 70, 0, 7);
    paint.fill();
    paint.fillStyle = '#0f1216';
    paint.fillRect(0, 560, 1280, 160);
    paint.fillStyle = '#fff';
    paint.font = '600 44px monospace';
    paint.fillText(`PGM ${String(n).padStart(6, '0')}`, 480, 650);
  }, 33);
  // Frame k belongs to the moment k / 30 s of the wall clock, and is shown 31 ms later; the mock says when it arrived.
  const ask = HTMLVideoElement.prototype.requestVideoFrameCallback;
  HTMLVideoElement.prototype.requestVideoFrameCallback = function (tell) {
    return ask.call(this, (now) => {
      const k = Math.floor(((performance.timeOrigin + now - 31) * 30) / 1000);
      tell(now, { expectedDisplayTime: now, rtpTimestamp: (k * 3000) % 2 ** 32 });
    });
  };
  const sound = () => {
    const context = new AudioContext();
    addEventListener('pointerdown', () => context.resume());
    const [out, both] = [context.createMediaStreamDestination(), context.createChannelMerger(2)];
    [0.4, 0.09].forEach((level, channel) => {
      const [tone, gain] = [context.createOscillator(), context.createGain()];
      gain.gain.value = level;
      tone.connect(gain).connect(both, 0, channel);
      tone.start();
    });
    both.connect(out);
    return out.stream.getTracks()[0];
  };
  if (location.search.endsWith('&muted')) localStorage.setItem('returnfeed.sound', 'off');
  if (location.search.endsWith('&blocked')) {
    localStorage.setItem('returnfeed.sound', 'on');
    const play = HTMLMediaElement.prototype.play;
    HTMLMediaElement.prototype.play = function () {
      return this.muted ? play.call(this) : Promise.reject(new DOMException('', 'NotAllowedError'));
    };
  }
  window.RTCPeerConnection = class {
    connectionState = 'new';
    localDescription = { sdp: 'v=0' };
    addTransceiver() {
      return { receiver: {} };
    }
    createOffer() {
      return Promise.resolve({ type: 'offer', sdp: 'v=0' });
    }
    setLocalDescription() {
      return Promise.resolve();
    }
    setRemoteDescription() {
      const [track] = canvas.captureStream(30).getTracks();
      this.ontrack?.({ track });
      this.ontrack?.({ track: sound() });
      setTimeout(() => {
        this.connectionState = 'connected';
        this.onconnectionstatechange?.();
      }, 50);
      return Promise.resolve();
    }
    getStats() {
      const video = { type: 'inbound-rtp', kind: 'video', id: 'v', codecId: 'c', jitter: 0.0011 };
      Object.assign(video, { packetsReceived: n * 12, framesDecoded: n, bytesReceived: n * 16000 });
      Object.assign(video, { frameWidth: 1280, frameHeight: 720, packetsLost: 0 });
      return Promise.resolve(
        new Map([
          ['v', video],
          ['c', { type: 'codec', id: 'c', mimeType: 'video/H264' }],
        ]),
      );
    }
    close() {}
  };
}

const VIEWS = [
  { name: 'program', query: '?camera=Camera+1', cut: 0 },
  { name: 'preview', query: '?camera=Camera+2', cut: 0 },
  { name: 'safe', query: '?camera=%EC%A7%80%EB%AF%B8%EC%A7%91', cut: 0 },
  { name: 'sound', query: '?camera=Camera+1', click: ['#level'] },
  { name: 'sound-ko', query: '?camera=Camera+2', click: ['#level'], locale: 'ko-KR' },
  { name: 'sound-muted', query: '?camera=Camera+1&muted' },
  { name: 'sound-muted-ko', query: '?camera=Camera+1&muted', locale: 'ko-KR' },
  { name: 'sound-blocked', query: '?camera=Camera+1&blocked', wait: 5000 },
  { name: 'sound-blocked-ko', query: '?camera=Camera+1&blocked', wait: 5000, locale: 'ko-KR' },
  { name: 'sound-panel', query: '?camera=Camera+1', click: ['#level', '#level'] },
  { name: 'sound-panel-ko', query: '?camera=Camera+1', click: ['#level', '#level'], locale: 'ko-KR' },
  { name: 'sound-panel-muted', query: '?camera=Camera+1&muted', click: ['#level'] },
  { name: 'sound-panel-muted-ko', query: '?camera=Camera+1&muted', click: ['#level'], locale: 'ko-KR' },
  { name: 'no-sound-panel', query: '?camera=Camera+1', scene: 'no_sound', click: ['#level'] },
  { name: 'sound-director', query: '?camera=Camera+2&view=director', click: ['#level'] },
  { name: 'sound-quiet', query: '?camera=Camera+1', click: ['#level'], wait: 5000 },
  { name: 'no-sound', query: '?camera=Camera+1', scene: 'no_sound' },
  { name: 'no-sound-ko', query: '?camera=Camera+1', scene: 'no_sound', locale: 'ko-KR' },
  { name: 'catching-up', query: '?camera=Camera+1', late: 400, wait: 7500 },
  { name: 'catching-up-ko', query: '?camera=Camera+1', late: 400, wait: 7500, locale: 'ko-KR' },
  { name: 'none-chosen', query: '', cut: 0 },
  { name: 'no-vmix', query: '?camera=Camera+1', scene: 'no_vmix' },
  { name: 'silent', query: '?camera=Camera+1', later: 'silent', wait: 2600 },
  { name: 'source-stopped', query: '?camera=Camera+1', later: 'no_source', freeze: true, wait: 3000 },
  { name: 'setup', query: '?camera=Camera+1', scene: 'no_source', picture: false },
  { name: 'setup-ko', query: '?camera=Camera+1', scene: 'no_source', picture: false, locale: 'ko-KR' },
  { name: 'b-frames', query: '?camera=Camera+1', scene: 'b_frames', picture: false },
  { name: 'lamp-program', query: '?camera=Camera+1&view=lamp' },
  { name: 'lamp-preview-ko', query: '?camera=Camera+2&view=lamp', locale: 'ko-KR' },
  { name: 'lamp-safe', query: '?camera=%EC%A7%80%EB%AF%B8%EC%A7%91&view=lamp' },
  { name: 'lamp-unknown', query: '?camera=Camera+1&view=lamp', scene: 'no_vmix' },
  { name: 'director', query: '?camera=Camera+2&view=director' },
  { name: 'director-ko', query: '?view=director', locale: 'ko-KR' },
  { name: 'director-setup', query: '?view=director', scene: 'no_source', picture: false },
  { name: 'details-ko', query: '?camera=Camera+1', click: ['#details'], wait: 2500, locale: 'ko-KR' },
  { name: 'chooser', query: '?camera=Camera+1', click: ['#choose'] },
  { name: 'share', query: '?camera=Camera+1', click: ['#share'] },
  { name: 'details', query: '?camera=Camera+1', click: ['#details'], wait: 2500 },
  { name: 'quiet', query: '?camera=Camera+1', wait: 5000 },
  { name: 'program-ko', query: '?camera=Camera+1', locale: 'ko-KR' },
];

const only = process.argv.slice(3);
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
for (const view of VIEWS) {
  if (only.length > 0 && !only.includes(view.name)) continue;
  for (const [width, height] of SIZES) {
    const mock = await startMock({ scene: view.scene ?? 'live', hold: true });
    const context = await browser.newContext({
      viewport: { width, height },
      locale: view.locale ?? 'en-US',
      hasTouch: width < 1000,
    });
    const page = await context.newPage();
    page.on('console', (line) => {
      if (!/status of (409|422)|AudioContext was not allowed/.test(line.text()))
        console.log(`${view.name}: ${line.type()}: ${line.text()}`);
    });
    page.on('pageerror', (error) => console.log(`${view.name}: ${error}`));
    if (view.picture !== false) {
      await page.addInitScript(fakePeer);
      await page.route('**/whep*', (route) =>
        route.fulfill({ status: 201, contentType: 'application/sdp', body: 'v=0' }),
      );
    }
    await page.goto(`${mock.url}pgm${view.query}`);
    await page.waitForTimeout(400);
    const began = performance.now();
    const media = setInterval(() => {
      const wall = performance.timeOrigin + performance.now();
      const k = Math.floor((wall * 30) / 1000);
      // A picture that has fallen behind arrived long before it is shown.
      const late = performance.now() - began > 2500 ? (view.late ?? 0) : 0;
      const at = (frame) => mock.now() - late + (frame * 1000) / 30 - wall;
      mock.media(Array.from({ length: 8 }, (_, i) => [((k - i) * 3000) % 2 ** 32, at(k - i)]));
    }, 200);
    for (const control of view.click ?? []) await page.click(control);
    if (view.freeze) await page.evaluate(() => (window.frozen = true));
    if (view.later) mock.set({ scene: view.later });
    await page.waitForTimeout(view.wait ?? 1200);
    await page.screenshot({ path: `${out}/${view.name}-${width}x${height}.png` });
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
    if (overflow) console.log(`${view.name} ${width}: wider than the screen`);
    clearInterval(media);
    await context.close();
    mock.stop();
  }
}
await browser.close();
