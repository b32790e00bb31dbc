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
  '--autoplay-policy=no-user-gesture-required',
];

export const launch = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: FLAGS,
  });

/** A page in a profile of its own; whatever it throws or logs as an error is kept in `page.faults`. */
export async function open(browser, url, { locale = 'en-US', width = 1280, height = 720 } = {}) {
  const context = await browser.newContext({ locale, viewport: { width, height } });
  const page = await context.newPage();
  page.faults = [];
  page.on('pageerror', (error) => page.faults.push(String(error)));
  await page.addInitScript(countPictures);
  await page.goto(url);
  return page;
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
  const began = await page.evaluate(() => window.pictures);
  await until(
    'a picture',
    () => page.evaluate(() => document.querySelector('video')?.videoWidth > 0),
    within,
  );
  const before = await look(page);
  await until(
    `${count} pictures`,
    async () => (await page.evaluate(() => window.pictures)) >= began + count,
    within,
  );
  await until('the picture to change', async () => (await look(page)) !== before, within);
}

/** What the video shows now, as text that differs when it does. */
function look(page) {
  return page.evaluate(() => {
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

export const tallyOf = (page) => page.evaluate(() => document.documentElement.dataset.tally);

/** Waits until the page shows that tally. */
export const tallyBecomes = (page, tally, within) =>
  until(`tally ${tally}`, async () => (await tallyOf(page)) === tally, within);

export const wordOf = (page) => page.locator('.tally-word .word').textContent();

/** Marks the page, so that a reload would be noticed. */
export const mark = (page) =>
  page.evaluate(() => {
    window.marked = true;
  });
export const isMarked = (page) => page.evaluate(() => window.marked === true);
