// From the line vMix sends to the border on the screen, with the picture playing.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Box, ffmpeg } from './support/box.mjs';
import { launch, open, pictureMoves, tallyBecomes } from './support/browser.mjs';
import { KEYS, Vmix } from './support/vmix.mjs';

let browser;
let box;
let source;
let vmix;

before(async () => {
  vmix = await Vmix.start();
  box = await Box.start({ vmixPort: vmix.port });
  source = ffmpeg(box);
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await source?.stop();
  await box?.stop();
  await vmix?.stop();
});

/** Runs in the page: notes when the border was changed, and when the frame that shows it was made. */
function watchBorder() {
  window.changes = [];
  const wall = () => performance.timeOrigin + performance.now();
  new MutationObserver(() => {
    const frame = document.querySelector('.tally-frame');
    if (!frame || frame.dataset.tally === window.lastShown) return;
    window.lastShown = frame.dataset.tally;
    const change = { tally: frame.dataset.tally, changed: wall(), shown: null };
    window.changes.push(change);
    // The callback runs before the frame is drawn; a message after it, when it has been.
    requestAnimationFrame(() => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => {
        change.shown = wall();
      };
      port2.postMessage(null);
    });
  }).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ['data-tally'] });
}

test('a cut is on the border within 50 ms', { timeout: 90_000 }, async () => {
  const page = await open(browser, `${box.base}/pgm?camera=${KEYS[0]}`);
  await page.evaluate(watchBorder);
  await pictureMoves(page, 30);
  vmix.setTally('010');
  await tallyBecomes(page, 'safe');
  const wall = () => performance.timeOrigin + performance.now();
  const delays = [];
  for (let round = 0; round < 60; round += 1) {
    const tally = round % 2 === 0 ? 'program' : 'preview';
    await page.evaluate(() => {
      window.changes = [];
    });
    const sent = wall();
    vmix.setTally(tally === 'program' ? '100' : '210');
    const shown = await page.waitForFunction(
      (tally) => window.changes.find((change) => change.tally === tally && change.shown)?.shown,
      tally,
      { timeout: 5000 },
    );
    delays.push((await shown.jsonValue()) - sent);
    // At every phase of the screen's 16.7 ms.
    await new Promise((resolve) => setTimeout(resolve, 31 + ((round * 7) % 17)));
  }
  delays.sort((a, b) => a - b);
  const at = (share) => delays[Math.min(delays.length - 1, Math.floor(delays.length * share))].toFixed(1);
  console.log(`vMix line to border drawn: p50 ${at(0.5)} ms, p90 ${at(0.9)} ms, max ${at(1)} ms`);
  assert.ok(Number(at(0.9)) <= 50, `p90 ${at(0.9)} ms`);
  await page.context().close();
});
