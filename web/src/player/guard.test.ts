import { beforeEach, describe, expect, it } from 'vitest';
import { DelayGuard, type Drop } from './guard';

let guard: DelayGuard;
let now: number;

/** Reads twice a second for `ms`; what came of it, without the nothings. */
function read(ms: number, delay: number | null, { meter = 'box', inSync = false } = {}): Drop[] {
  const drops: Drop[] = [];
  for (const end = now + ms; now < end; now += 500) drops.push(guard.read(now, delay, meter, inSync));
  return drops.filter((drop) => drop !== 'none');
}

beforeEach(() => {
  guard = new DelayGuard();
  now = 0;
});

describe('DelayGuard', () => {
  it('leaves a steady state alone, whatever it is', () => {
    expect(read(60_000, 900)).toEqual([]);
  });

  it('leaves a short peak and a little growth alone', () => {
    read(5000, 30);
    expect(read(2000, 500)).toEqual([]);
    expect(read(60_000, 170)).toEqual([]);
  });

  it('nudges first, and begins anew if that does not help', () => {
    read(5000, 30);
    expect(read(2500, 200)).toEqual([]);
    expect(read(500, 200)).toEqual(['nudge']);
    expect(guard.isBehind).toBe(true);
    expect(read(2500, 200)).toEqual(['rejoin']);
    expect(guard.isBehind).toBe(false);
  });

  it('is content when the nudge has helped', () => {
    read(5000, 30);
    expect(read(3000, 200)).toEqual(['nudge']);
    expect(read(10_000, 40)).toEqual([]);
    expect(guard.isBehind).toBe(false);
  });

  it('takes what a new session brings for its steady state', () => {
    read(5000, 30);
    guard.fresh();
    expect(read(60_000, 400)).toEqual([]);
  });

  it('does not flap where a bad link makes the delay grow again and again', () => {
    let rejoins = 0;
    while (now < 1_800_000) {
      read(2000, 30);
      rejoins += read(8000, 600).filter((drop) => drop === 'rejoin').length;
      guard.fresh();
    }
    expect(rejoins).toBeGreaterThan(4);
    expect(rejoins).toBeLessThan(13);
  });

  it('acts soon again once a drop has helped for a minute', () => {
    for (let i = 0; i < 6; i += 1) {
      read(2000, 30);
      read(60_000, 600);
    }
    guard.fresh();
    read(70_000, 30);
    expect(read(6000, 600)).toEqual(['nudge', 'rejoin']);
    read(70_000, 30);
    expect(read(6000, 600)).toEqual(['nudge', 'rejoin']);
  });

  it('compares no figures of two meters', () => {
    read(5000, 5, { meter: 'browser' });
    expect(read(60_000, 300)).toEqual([]);
    expect(read(6000, 600, { meter: 'browser' })).toEqual(['nudge', 'rejoin']);
  });

  it('counts no time in which nothing could be measured', () => {
    read(5000, 30);
    read(1500, 400);
    read(60_000, null);
    expect(read(2000, 400)).toEqual([]);
  });

  it('leaves the picture more room where it waits for its sound', () => {
    read(5000, 30, { inSync: true });
    expect(read(60_000, 400, { inSync: true })).toEqual([]);
    expect(read(6000, 600, { inSync: true })).toEqual(['nudge', 'rejoin']);
  });
});
