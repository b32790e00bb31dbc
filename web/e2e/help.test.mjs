// What the page says when there is nothing to show, or nothing that a browser can show.
import assert from 'node:assert/strict';
import { networkInterfaces } from 'node:os';
import { after, before, test } from 'node:test';
import { Box, ffmpeg, until } from './support/box.mjs';
import { launch, open, pictureMoves } from './support/browser.mjs';

let browser;
let box;

before(async () => {
  box = await Box.start({ host: '[::]' });
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await box?.stop();
});

test('with no source: what to enter in vMix, in both languages, until one comes', {
  timeout: 90_000,
}, async () => {
  for (const [locale, words] of [
    ['en-US', ['Waiting for vMix', 'Caller', 'Stream ID', 'Keyframe interval', 'B-frames']],
    ['ko-KR', ['vMix', 'B']],
  ]) {
    const page = await open(browser, `${box.base}/`, { locale, width: 360, height: 740 });
    const help = page.locator('#setup');
    await until('the port of the box', async () => (await help.textContent()).includes(String(box.srtPort)));
    const text = await help.textContent();
    for (const word of [...words, 'pgm', '20 ms']) assert.ok(text.includes(word), `${word}: ${text}`);
    const addresses = Object.values(networkInterfaces()).flat();
    assert.ok(
      addresses.some(({ address }) => text.includes(address)),
      `an address of this machine: ${text}`,
    );
    if (locale === 'ko-KR') assert.match(text, /[가-힣]/);
    await page.context().close();
  }
  const page = await open(browser, `${box.base}/`);
  await page.locator('#setup').waitFor();
  const source = ffmpeg(box);
  try {
    await pictureMoves(page, 30, 30_000);
    assert.equal(await page.locator('#setup').count(), 0);
  } finally {
    await source.stop();
    await page.context().close();
  }
});

test('B-frames: the page says what to change', { timeout: 60_000 }, async () => {
  const source = ffmpeg(box, { streamId: 'beta', bFrames: 2 });
  const page = await open(browser, `${box.base}/beta`);
  try {
    const problem = page.locator('#problem');
    await until(
      'the problem',
      async () => (await problem.getAttribute('data-code', { timeout: 1000 })) === 'b_frames',
    );
    assert.match(await problem.textContent(), /B-frames/i);
  } finally {
    await source.stop();
    await page.context().close();
  }
});
