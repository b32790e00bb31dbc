// The sound of a real source, from its AAC to Chromium's loudspeaker.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Box, ffmpeg, until } from './support/box.mjs';
import { launch, look, open, pictureMoves } from './support/browser.mjs';

let browser;
/** Plays nothing aloud before a touch. */
let strict;
let box;
const sources = [];

before(async () => {
  box = await Box.start();
  sources.push(ffmpeg(box, { sound: true }), ffmpeg(box, { streamId: 'silent' }));
  browser = await launch();
  strict = await launch({ insists: true });
});

after(async () => {
  await browser?.close();
  await strict?.close();
  for (const source of sources) await source.stop();
  await box?.stop();
});

async function withPage(path, { on = browser, ...options }, use) {
  const page = await open(on, `${box.base}${path}`, options);
  try {
    await pictureMoves(page, 10);
    await use(page);
    assert.deepEqual(page.faults, []);
  } catch (error) {
    const shown = await look(page, () => document.body.textContent).catch(() => '');
    error.message += `\n--- the page shows ---\n${shown}\n--- the box says ---\n${box.child.said().slice(-4000)}`;
    throw error;
  } finally {
    await page.context().close();
  }
}

const becomes = (page, state) =>
  until(
    `sound ${state}`,
    async () => (await look(page, () => document.querySelector('#level').dataset.sound)) === state,
  );

const chip = (page) => look(page, () => document.querySelector('#level').textContent);

/** What the meter's bars show, left and right, in dBFS; the highest and lowest of two and a half seconds. */
async function meter(page) {
  const seen = await look(page, async () => {
    const seen = [];
    for (const end = performance.now() + 2500; performance.now() < end; ) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      seen.push([...document.querySelectorAll('#level .bars i')].map((bar) => Number(bar.dataset.db)));
    }
    return seen;
  });
  const of = (channel) => seen.map((bars) => bars[channel]);
  return { left: Math.max(...of(0)), right: Math.max(...of(1)), lowest: Math.min(...of(0)) };
}

/** What Chromium itself says of the sound of the newest session. */
const received = (page) =>
  look(page, async () => {
    const stats = [...(await window.peers.at(-1).getStats()).values()];
    const audio = stats.find(({ type, kind }) => type === 'inbound-rtp' && kind === 'audio');
    const codec = stats.find(({ id }) => id === audio?.codecId);
    const { timestamp, packetsReceived, totalAudioEnergy } = audio;
    const { jitterBufferDelay, jitterBufferTargetDelay, jitterBufferEmittedCount } = audio;
    return {
      at: timestamp,
      codec: codec?.mimeType,
      packets: packetsReceived,
      energy: totalAudioEnergy,
      held: jitterBufferDelay,
      target: jitterBufferTargetDelay,
      emitted: jitterBufferEmittedCount,
    };
  });

/**
 * How long the sound of one second was held before it was played beyond what Chromium holds back for the jitter it sees
 * (on a busy machine that is much, whatever the box does), in milliseconds.
 */
async function heldMs(page) {
  const first = await received(page);
  await page.waitForTimeout(1000);
  const then = await received(page);
  const of = (key) => ((then[key] - first[key]) / (then.emitted - first.emitted)) * 1000;
  return of('held') - of('target');
}

const delayMs = async (page) =>
  Number(await until('a delay', () => look(page, () => document.querySelector('#delay').dataset.ms)));

/** The least of some readings: a busy machine makes one larger now and then, waiting makes every one larger. */
async function least(times, read) {
  let least = Number.POSITIVE_INFINITY;
  for (let n = 0; n < times; n += 1) {
    least = Math.min(least, await read());
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  return least;
}

test('sound comes, is silent until a tap, then heard in stereo', { timeout: 60_000 }, () =>
  withPage('/pgm', {}, async (page) => {
    await becomes(page, 'muted');
    assert.match(await chip(page), /Tap for sound/);
    const first = await received(page);
    await page.waitForTimeout(2000);
    const then = await received(page);
    assert.equal(then.codec, 'audio/opus');
    const rate = ((then.packets - first.packets) / (then.at - first.at)) * 1000;
    assert.ok(Math.abs(rate - 100) < 25, `${rate} packets a second`);
    assert.equal(then.energy, 0, 'nothing is heard before a tap');
    const before = await least(10, () => delayMs(page));

    await page.click('#level');
    await becomes(page, 'playing');
    const { left, right, lowest } = await meter(page);
    const held = await heldMs(page);
    const after_ = await least(10, () => delayMs(page));
    console.log(
      `left ${left} dBFS, right ${right} dBFS, sound held ${held.toFixed(0)} ms too long; picture ${before} ms late before the tap, ${after_} ms after`,
    );
    assert.ok(Math.abs(left + 6) < 4, `left ${left} dBFS`);
    assert.ok(Math.abs(left - right - 20) < 4, `right ${right} dBFS`);
    assert.ok(left - lowest > 10, 'the meter moves with the sound');
    assert.ok((await received(page)).energy > 0);
    assert.ok(held < 150, `sound is held ${held} ms too long`);
    assert.ok(Math.abs(after_ - before) < 30, 'the picture does not wait for it');

    // The controls are hidden from a hand that rests for 4 s.
    await page.mouse.move(100, 100);
    await page.mouse.move(120, 120);
    await page.click('#sound');
    await becomes(page, 'muted');
    assert.equal(await look(page, () => document.querySelector('audio').muted), true);
    await page.click('#level');
    await page.click('#mute');
    await becomes(page, 'playing');
  }),
);

test('volume and the wish for sound are remembered', { timeout: 60_000 }, () =>
  withPage('/pgm', {}, async (page) => {
    await page.click('#level');
    await becomes(page, 'playing');
    await page.click('#level');
    await page.fill('#volume', '30');
    await page.keyboard.press('Escape');
    await page.reload();
    await becomes(page, 'playing');
    const { muted, volume } = await look(page, () => {
      const { muted, volume } = document.querySelector('audio');
      return { muted, volume };
    });
    assert.deepEqual([muted, volume], [false, 0.3]);
    const { left } = await meter(page);
    assert.ok(left > -12, `${left} dBFS: the meter shows what is sent, not how loud it is played`);
  }),
);

test('a browser that insists on a touch plays unheard until it is given', { timeout: 60_000 }, () =>
  withPage('/pgm', { on: strict }, async (page) => {
    await becomes(page, 'muted');
    await page.waitForTimeout(1000);
    assert.equal((await received(page)).energy, 0);
    await page.click('#level');
    await becomes(page, 'playing');
    const { left, lowest } = await meter(page);
    assert.ok(left > -12 && left - lowest > 10, `${lowest} to ${left} dBFS`);
    assert.ok((await received(page)).energy > 0, 'it is heard');
  }),
);

const wishForSound = () => localStorage.setItem('returnfeed.sound', 'on');
const untouched = (page) => look(page, () => !navigator.userActivation.hasBeenActive);

test('sound that was on the last time is invited to again, and nothing piles up', { timeout: 60_000 }, () =>
  withPage('/pgm', { on: strict, before: wishForSound, locale: 'ko-KR' }, async (page) => {
    await becomes(page, 'blocked');
    assert.match(await chip(page), /눌러서 소리 켜기/);
    await page.waitForTimeout(3000);
    assert.equal((await received(page)).energy, 0);
    assert.ok(await untouched(page), 'nothing of this was a touch');
    await page.click('#level');
    await becomes(page, 'playing');
    assert.ok((await meter(page)).left > -12);
    const held = await heldMs(page);
    assert.ok(held < 150, `nothing piled up before the tap: ${held} ms`);
  }),
);

test('sound that is stopped from outside is not heard again before a tap', { timeout: 60_000 }, () =>
  withPage('/pgm', {}, async (page) => {
    await page.click('#level');
    await becomes(page, 'playing');
    await look(page, () => document.querySelector('audio').pause());
    await becomes(page, 'blocked');
    const playsOnMuted = () => {
      const { muted, paused } = document.querySelector('audio');
      return muted && !paused;
    };
    assert.equal(await look(page, playsOnMuted), true);
    await page.click('#level');
    await becomes(page, 'playing');
    assert.ok((await meter(page)).left > -12, 'the meter runs again too');
  }),
);

test('lip sync has the box put both into one media stream, and back', { timeout: 60_000 }, () =>
  withPage('/pgm', {}, async (page) => {
    const answer = () => look(page, () => window.peers.at(-1).remoteDescription.sdp);
    const ids = async () => new Set((await answer()).match(/^a=msid:\S+/gm)).size;
    assert.equal(await ids(), 2);
    assert.match(await answer(), /playout-delay/);
    await page.click('#level');
    await becomes(page, 'playing');
    for (const [pressed, streams] of [
      ['true', 1],
      ['false', 2],
    ]) {
      await page.click('#level');
      await page.click('#lip-sync');
      await page.waitForSelector(`#lip-sync[aria-pressed="${pressed}"]`);
      await page.keyboard.press('Escape');
      await pictureMoves(page, 30);
      assert.equal(await ids(), streams);
      assert.equal(/playout-delay/.test(await answer()), streams === 2);
      assert.ok((await meter(page)).left > -12, 'heard in the new session too');
      console.log(`lip sync ${pressed}: the picture is ${await delayMs(page)} ms late`);
    }
  }),
);

test('a stream without sound says so, calmly', { timeout: 60_000 }, () =>
  withPage('/silent', {}, async (page) => {
    await becomes(page, 'none');
    assert.match(await chip(page), /No sound/);
    assert.equal(await page.locator('#sound').count(), 0);
  }),
);

test('the box tells what each viewer hears and how late its picture is', { timeout: 60_000 }, () =>
  withPage('/pgm', {}, async (page) => {
    const shown = await delayMs(page);
    const session = await until('a report', async () =>
      (await box.status()).sessions.find(({ delay_ms, sound }) => delay_ms !== null && sound),
    );
    assert.ok(Math.abs(session.delay_ms - shown) < 40, `${session.delay_ms} ms, not ${shown} ms`);
  }),
);
