// Chromium as Debian ships it, and what the tests ask of a page in it.
import { chromium } from 'playwright-core';
import { until } from './box.mjs';

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** `program`: another than Debian's. `home`: whose authorities it trusts. `insists`: on a touch before it plays anything aloud, as browsers do that people use. */
export const launch = ({ insists = false, program, home } = {}) =>
  chromium.launch({
    ...(home ? { env: { ...process.env, HOME: home } } : {}),
    executablePath: program ?? process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: [
      ...FLAGS,
      `--autoplay-policy=${insists ? 'document-user-activation-required' : 'no-user-gesture-required'}`,
    ],
  });

/**
 * A page in a profile of its own; whatever it throws or logs as an error is kept in `page.faults`. `before` runs in
 * the page ahead of its own script.
 */
export async function open(
  browser,
  url,
  { locale = 'en-US', width = 1280, height = 720, before, anyAuthority = false } = {},
) {
  const context = await browser.newContext({
    locale,
    viewport: { width, height },
    ignoreHTTPSErrors: anyAuthority,
  });
  const page = await context.newPage();
  page.faults = [];
  page.on('pageerror', (error) => page.faults.push(String(error)));
  await page.addInitScript(countPictures);
  await page.addInitScript(keepPeers);
  if (before) await page.addInitScript(before);
  page.looking = await context.newCDPSession(page);
  await page.goto(url);
  return page;
}

/**
 * Runs a function in the page and gives what it returns. Unlike `page.evaluate` and what locators read, which Playwright
 * sends as if a user had touched the page, this only looks: a browser that insists on a touch goes on insisting.
 */
export async function look(page, read) {
  const { result, exceptionDetails } = await page.looking.send('Runtime.evaluate', {
    expression: `(${read})()`,
    awaitPromise: true,
    returnByValue: true,
    userGesture: false,
  });
  if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
  return result.value;
}

/** Runs in the page: keeps its peer connections in `window.peers`. */
function keepPeers() {
  window.peers = [];
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...args) {
      super(...args);
      window.peers.push(this);
    }
  };
}

/** Runs in the page: counts frames on the screen, whichever video element and session they come from. */
function countPictures() {
  window.pictures = 0;
  const watched = new WeakSet();
  setInterval(() => {
    const video = document.querySelector('video');
    if (!video || watched.has(video)) return;
    watched.add(video);
    const count = () => {
      window.pictures += 1;
      video.requestVideoFrameCallback(count);
    };
    video.requestVideoFrameCallback(count);
  }, 20);
}

/** Waits until `count` more pictures were shown than now, and what is shown has changed meanwhile. */
export async function pictureMoves(page, count = 30, within = 20_000) {
  const began = await look(page, () => window.pictures);
  await until('a picture', () => look(page, () => document.querySelector('video')?.videoWidth > 0), within);
  const before = await pixels(page);
  await until(
    `${count} pictures`,
    async () => (await look(page, () => window.pictures)) >= began + count,
    within,
  );
  await until('the picture to change', async () => (await pixels(page)) !== before, within);
}

/** What the video shows now, as text that differs when it does. */
function pixels(page) {
  return look(page, () => {
    const video = document.querySelector('video');
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [64, 36];
    const context = canvas.getContext('2d');
    context.drawImage(video, 0, 0, 64, 36);
    const { data } = context.getImageData(0, 0, 64, 36);
    if (data.every((value, at) => at % 4 === 3 || value === data[at % 4])) return '';
    return [...data].join();
  });
}

export const tallyOf = (page) => look(page, () => document.documentElement.dataset.tally);

/** Waits until the page shows that tally. */
export const tallyBecomes = (page, tally, within) =>
  until(`tally ${tally}`, async () => (await tallyOf(page)) === tally, within);

export const wordOf = (page) => page.locator('.tally-word .word').textContent();

/** Marks the page, so that a reload would be noticed. */
export const mark = (page) =>
  page.evaluate(() => {
    window.marked = true;
  });
export const isMarked = (page) => look(page, () => window.marked === true);
