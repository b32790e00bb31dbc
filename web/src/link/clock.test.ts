import { describe, expect, it } from 'vitest';
import { BoxClock } from './clock';

describe('BoxClock', () => {
  it('knows nothing before the first answer', () => {
    const clock = new BoxClock();
    clock.ping(0);
    expect(clock.toBox(10)).toBeNull();
    expect(clock.uncertaintyMs()).toBeNull();
  });

  it('takes the middle of the round trip', () => {
    const clock = new BoxClock();
    const id = clock.ping(100);
    expect(clock.answer(id, 5005, 110)).toBe(true);
    expect(clock.toBox(105)).toBe(5005);
    expect(clock.uncertaintyMs()).toBe(5);
  });

  it('believes the answer with the shortest round trip, whatever came after it', () => {
    const clock = new BoxClock();
    clock.answer(clock.ping(0), 1001, 2);
    for (let i = 1; i < 10; i += 1) clock.answer(clock.ping(i * 100), 1000 + i * 100 + 80, i * 100 + 90);
    expect(clock.toBox(500)).toBe(1500);
  });

  it('forgets an answer that has grown old, so that drift does not add up', () => {
    const clock = new BoxClock();
    clock.answer(clock.ping(0), 1001, 2);
    clock.answer(clock.ping(40_000), 41_020, 40_010);
    expect(clock.toBox(40_005)).toBe(41_020);
  });

  it('refuses answers to pings that it never sent, and second answers', () => {
    const clock = new BoxClock();
    const id = clock.ping(0);
    expect(clock.answer(id + 1, 7, 1)).toBe(false);
    expect(clock.answer(id, 7, 1)).toBe(true);
    expect(clock.answer(id, 999, 1)).toBe(false);
    expect(clock.answer(-1, 7, 1)).toBe(false);
  });
});
