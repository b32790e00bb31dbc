// The page in a real browser, in front of a real box that a simulated vMix feeds.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Box, freePort, Simulator, until } from './support/box.mjs';
import {
  isMarked,
  launch,
  mark,
  open,
  pictureMoves,
  tallyBecomes,
  tallyOf,
  wordOf,
} from './support/browser.mjs';
import { vmixFunction } from './support/vmix.mjs';

const CAM1 = '26cae087-b7b6-4d45-98e4-de03ab4feb6b';
const CAM2 = '55cbe357-a801-4d3b-8ff2-08ee68766fae';

let browser;
let box;
let simulator;

before(async () => {
  const vmixPort = await freePort();
  box = await Box.start({ vmixPort });
  simulator = await Simulator.start(box, { tcpPort: vmixPort });
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await simulator?.stop();
  await box?.stop();
});

const cut = (input) => vmixFunction(simulator.tcpPort, `CutDirect Input=${input}`);
const preview = (input) => vmixFunction(simulator.tcpPort, `PreviewInput Input=${input}`);

/** Runs `use` with a page, and closes it; nothing may have been thrown in it. */
async function withPage(path, options, use) {
  const page = await open(browser, `${box.base}${path}`, options);
  try {
    await use(page);
    assert.deepEqual(page.faults, []);
  } catch (error) {
    const shown = await page.evaluate(() => document.body.textContent).catch(() => '');
    error.message += `\n--- the page shows ---\n${shown}\n--- the box says ---\n${box.child.said().slice(-4000)}`;
    throw error;
  } finally {
    await page.context().close();
  }
}

/** Runs in the page: the median of 45 frames, from the last packet's arrival to the expected display. */
function chromiumsDelay() {
  const video = document.querySelector('video');
  const delays = [];
  return new Promise((resolve) => {
    const onFrame = (_now, { expectedDisplayTime, presentationTime, receiveTime }) => {
      delays.push(Math.max(expectedDisplayTime, presentationTime) - receiveTime);
      if (delays.length < 45) video.requestVideoFrameCallback(onFrame);
      else resolve(delays.sort((a, b) => a - b)[22]);
    };
    video.requestVideoFrameCallback(onFrame);
  });
}

test('the picture moves, its delay is measured, and nothing is thrown', { timeout: 60_000 }, () =>
  withPage('/', {}, async (page) => {
    await pictureMoves(page, 60);
    await until('a delay', () => page.locator('#delay').getAttribute('data-ms'));
    // On loopback Chromium's own figure, from its last packet to the screen, must agree with the page's.
    const own = await page.evaluate(chromiumsDelay);
    const shown = Number(await page.locator('#delay').getAttribute('data-ms'));
    console.log(`delay shown by the page: ${shown} ms; Chromium's own: ${own.toFixed(1)} ms`);
    assert.ok(shown > 0 && Math.abs(shown - own) < 15, `${shown} ms is not plausible beside ${own} ms`);
    const stats = await page.locator('#picture').getAttribute('data-health');
    assert.equal(stats, 'good');
  }),
);

test('border, word and title follow every cut', { timeout: 60_000 }, () =>
  withPage(`/pgm?camera=${CAM1}`, {}, async (page) => {
    const frame = page.locator('.tally-frame');
    await preview(3);
    for (const [input, tally, word] of [
      [1, 'program', 'ON AIR'],
      [2, 'safe', '–'],
      [1, 'program', 'ON AIR'],
    ]) {
      await cut(input);
      await tallyBecomes(page, tally);
      assert.equal(await frame.getAttribute('data-tally'), tally);
      assert.equal(await wordOf(page), word);
    }
    await cut(2);
    await preview(1);
    await tallyBecomes(page, 'preview');
    assert.equal(await wordOf(page), 'NEXT');
    const [preview_, program] = await Promise.all(
      ['preview', 'program'].map((tally) =>
        page.evaluate((tally) => {
          const element = document.querySelector('.tally-frame');
          const was = element.dataset.tally;
          element.dataset.tally = tally;
          const { borderTopColor, boxShadow, backgroundImage, outlineColor } = getComputedStyle(element);
          element.dataset.tally = was;
          return [borderTopColor, boxShadow, backgroundImage, outlineColor].join();
        }, tally),
      ),
    );
    assert.notEqual(preview_, program, 'the borders look different');
  }),
);

test('Korean to a Korean browser', { timeout: 60_000 }, () =>
  withPage(`/pgm?camera=${CAM1}`, { locale: 'ko-KR' }, async (page) => {
    await cut(1);
    await tallyBecomes(page, 'program');
    assert.equal(await wordOf(page), '온에어');
    assert.equal(await page.evaluate(() => document.documentElement.lang), 'ko');
  }),
);

test('a lamp fills the screen and fetches no picture', { timeout: 60_000 }, () =>
  withPage(`/pgm?camera=${CAM2}&view=lamp`, { width: 360, height: 740 }, async (page) => {
    await cut(2);
    await tallyBecomes(page, 'program');
    const lamp = page.locator('#lamp');
    assert.equal(await lamp.getAttribute('data-tally'), 'program');
    const { width, height } = await lamp.boundingBox();
    assert.ok(width >= 360 && height >= 700, `${width}×${height}`);
    assert.equal(await page.locator('video').count(), 0);
  }),
);

test('the director sees every camera at once', { timeout: 60_000 }, () =>
  withPage('/pgm?view=director', {}, async (page) => {
    await cut(1);
    await preview(2);
    await until('both tiles', async () => {
      const of = (key) =>
        page.locator(`.tile[data-camera="${key}"]`).getAttribute('data-tally', { timeout: 1000 });
      return (await of(CAM1)) === 'program' && (await of(CAM2)) === 'preview';
    });
    assert.ok((await page.locator('.tile').count()) >= 3);
    await pictureMoves(page, 10);
  }),
);

test('everything has room at 360 pixels', { timeout: 60_000 }, async () => {
  for (const [path, width, height] of [
    [`/pgm?camera=${CAM1}`, 360, 640],
    [`/pgm?camera=${CAM1}`, 640, 360],
    [`/pgm?camera=${CAM1}&view=director`, 360, 640],
    [`/pgm?camera=${CAM1}&view=lamp`, 360, 640],
  ]) {
    await withPage(path, { width, height }, async (page) => {
      await page.locator('#choose').waitFor();
      const outside = await page.evaluate(() => {
        const { innerWidth, innerHeight } = window;
        const controls = [...document.querySelectorAll('button')].filter((one) => one.offsetParent !== null);
        return [
          ...(document.scrollingElement.scrollWidth > innerWidth ? ['the page scrolls sideways'] : []),
          ...controls
            .filter((one) => {
              const { left, right, bottom } = one.getBoundingClientRect();
              return left < 0 || right > innerWidth + 0.5 || bottom > innerHeight + 0.5;
            })
            .map((one) => one.id || one.textContent),
        ];
      });
      assert.deepEqual(outside, [], `${path} at ${width}×${height}`);
    });
  }
});

test('a camera is chosen by hand, remembered, and in the address', { timeout: 60_000 }, () =>
  withPage('/pgm', {}, async (page) => {
    await page.locator('#choose').click();
    await page.locator('.choice', { hasText: 'CAM 2' }).first().click();
    await until('the address', () => page.url().includes('camera='));
    await cut(2);
    await tallyBecomes(page, 'program');
    await page.goto(`${box.base}/pgm`);
    await tallyBecomes(page, 'program');
  }),
);

test('a frozen vMix: NO TALLY within 2 s, and back by itself', { timeout: 60_000 }, () =>
  withPage(`/pgm?camera=${CAM1}`, {}, async (page) => {
    await cut(1);
    await tallyBecomes(page, 'program');
    await mark(page);
    const began = performance.now();
    simulator.child.signal('SIGSTOP');
    try {
      await tallyBecomes(page, 'unknown', 5000);
      const took = performance.now() - began;
      console.log(`frozen vMix to NO TALLY: ${took.toFixed(0)} ms`);
      assert.ok(took <= 2200, `${took} ms`);
      assert.equal(await wordOf(page), 'NO TALLY');
    } finally {
      simulator.child.signal('SIGCONT');
    }
    await tallyBecomes(page, 'program');
    await pictureMoves(page, 30, 30_000);
    assert.ok(await isMarked(page), 'without a reload');
  }),
);

test('a vMix that is killed and comes back', { timeout: 90_000 }, () =>
  withPage(`/pgm?camera=${CAM1}`, {}, async (page) => {
    await cut(1);
    await tallyBecomes(page, 'program');
    await pictureMoves(page, 10);
    await mark(page);
    const began = performance.now();
    await simulator.stop();
    await tallyBecomes(page, 'unknown', 5000);
    assert.ok(performance.now() - began <= 2200);
    simulator = await Simulator.start(box, { tcpPort: simulator.tcpPort });
    await until(
      'the picture',
      async () => (await page.locator('#picture').getAttribute('data-health')) === 'good',
      30_000,
    );
    await pictureMoves(page, 30, 30_000);
    await cut(1);
    await tallyBecomes(page, 'program');
    assert.ok(await isMarked(page), 'without a reload');
  }),
);

test('a box that is killed and comes back', { timeout: 90_000 }, () =>
  withPage(`/pgm?camera=${CAM1}`, {}, async (page) => {
    await cut(1);
    await tallyBecomes(page, 'program');
    await pictureMoves(page, 10);
    await mark(page);
    const began = performance.now();
    await box.kill();
    await tallyBecomes(page, 'unknown', 5000);
    assert.ok(performance.now() - began <= 2200);
    await box.resume();
    const resumed = performance.now();
    await tallyBecomes(page, 'program', 20_000);
    await pictureMoves(page, 30, 40_000);
    console.log(
      `picture and tally ${((performance.now() - resumed) / 1000).toFixed(1)} s after the box was back`,
    );
    assert.ok(await isMarked(page), 'without a reload');
    assert.equal(await tallyOf(page), 'program');
  }),
);
