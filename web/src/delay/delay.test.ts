import { describe, expect, it } from 'vitest';
import { DelayMeter, rtpDifference } from './delay';

const OFFSET = 10_000;
const meter = () => new DelayMeter((pageMs) => pageMs + OFFSET);

describe('DelayMeter', () => {
  it('measures from arrival at the box to presentation here, whichever is heard of first', () => {
    const box = meter();
    box.arrived(3000, OFFSET + 100);
    box.presented(3000, 135);
    expect(box.delayMs(135)).toBe(35);
    box.presented(6000, 160);
    box.arrived(6000, OFFSET + 120);
    expect(box.delayMs(160)).toBe(40);
  });

  it('says nothing without a matching frame, and nothing while the clock is unknown', () => {
    const box = meter();
    box.arrived(3000, OFFSET);
    box.presented(9000, 40);
    expect(box.delayMs(40)).toBeNull();
    const clockless = new DelayMeter(() => null);
    clockless.arrived(1, 0);
    clockless.presented(1, 5);
    expect(clockless.delayMs(5)).toBeNull();
  });

  it('goes on over the wrap of the 32-bit timestamp', () => {
    expect(rtpDifference(10, 2 ** 32 - 10)).toBe(20);
    expect(rtpDifference(2 ** 32 - 10, 10)).toBe(-20);
    expect(rtpDifference(2 ** 31 + 5, 2 ** 31 - 5)).toBe(10);
    const box = meter();
    // The box's figure and the browser's, rounded to a millisecond, lie on either side of the wrap.
    box.arrived(2 ** 32 - 20, OFFSET);
    box.presented(25, 33);
    expect(box.delayMs(33)).toBe(33);
    // A browser that hands it back as a signed number means the same frame.
    box.arrived(4_000_000_000, OFFSET + 50);
    box.presented(4_000_000_000 - 2 ** 32, 90);
    expect(box.delayMs(90)).toBe(40);
  });

  it('shows the median, so that one late frame does not make the number jump', () => {
    const box = meter();
    for (let i = 0; i < 9; i += 1) {
      box.arrived(i * 3000, OFFSET + i * 33);
      box.presented(i * 3000, i * 33 + (i === 8 ? 300 : 30));
    }
    expect(box.delayMs(600)).toBe(30);
  });

  it('lets go of a number that has grown old', () => {
    const box = meter();
    box.arrived(1, OFFSET);
    box.presented(1, 30);
    expect(box.delayMs(1000)).toBe(30);
    expect(box.delayMs(2000)).toBeNull();
  });

  it('shows no negative delay, and takes no mismatch for one', () => {
    const box = meter();
    box.arrived(1, OFFSET + 2);
    box.presented(1, 0);
    expect(box.delayMs(0)).toBe(0);
    const other = meter();
    other.arrived(1, OFFSET + 5000);
    other.presented(1, 0);
    expect(other.delayMs(0)).toBeNull();
  });

  it('counts each frame once, remembers a bounded number, and forgets on reset', () => {
    const box = meter();
    for (let i = 0; i < 1000; i += 1) box.arrived(i * 3000, OFFSET);
    box.presented(0, 10);
    expect(box.delayMs(10)).toBeNull();
    box.presented(999 * 3000, 10);
    expect(box.delayMs(10)).toBe(10);
    box.reset();
    expect(box.delayMs(10)).toBeNull();
  });
});
