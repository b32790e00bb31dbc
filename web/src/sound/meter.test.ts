import { describe, expect, it } from 'vitest';
import { type Context, FLOOR_DB, fall, LevelMeter, toDb } from './meter';

const STREAM = {} as MediaStream;

/** A context whose channels have these peaks. */
function fake(peaks: number[], state = 'running') {
  const calls = { sources: 0, disconnected: 0, resumed: 0, suspended: 0 };
  let channel = 0;
  const context = {
    state,
    resume: async () => {
      calls.resumed += 1;
    },
    suspend: async () => {
      calls.suspended += 1;
    },
    createMediaStreamSource: () => {
      calls.sources += 1;
      channel = 0;
      return { connect: () => {}, disconnect: () => (calls.disconnected += 1) };
    },
    createChannelSplitter: () => ({ connect: () => {} }),
    createAnalyser: () => {
      const peak = peaks[channel++] ?? 0;
      return { getFloatTimeDomainData: (samples: Float32Array) => samples.fill(-peak) };
    },
  };
  return { calls, context: context as unknown as Context };
}

describe('LevelMeter', () => {
  it('tells the channels apart', () => {
    const { context } = fake([1, 0.1]);
    const meter = new LevelMeter(() => context);
    expect(meter.read()).toBeNull();
    meter.listen(STREAM);
    expect(meter.read()?.map(Math.round)).toEqual([0, -20]);
  });

  it('follows from stream to stream with one context, and lets go', () => {
    const { calls, context } = fake([1, 1]);
    let made = 0;
    const meter = new LevelMeter(() => {
      made += 1;
      return context;
    });
    meter.listen(null);
    expect(made).toBe(0);
    meter.listen(STREAM);
    meter.listen(STREAM);
    meter.listen({} as MediaStream);
    meter.listen(null);
    expect([made, calls.sources, calls.disconnected]).toEqual([1, 2, 2]);
    expect(meter.read()).toBeNull();
    expect(calls.suspended).toBe(1);
  });

  it('says nothing before the browser lets it listen, and asks to', () => {
    const { calls, context } = fake([1, 1], 'suspended');
    const meter = new LevelMeter(() => context);
    meter.listen(STREAM);
    expect(meter.read()).toBeNull();
    expect(calls.resumed).toBe(1);
  });

  it('costs nothing but itself where it cannot work', () => {
    const meter = new LevelMeter(() => {
      throw new ReferenceError('AudioContext is not defined');
    });
    expect(() => meter.listen(STREAM)).not.toThrow();
    expect(meter.read()).toBeNull();
  });
});

describe('a bar', () => {
  it('ends at the bottom of the scale, also in silence', () => {
    expect(toDb(0)).toBe(FLOOR_DB);
    expect(toDb(1)).toBe(0);
  });

  it('rises at once and falls slowly', () => {
    expect(fall(-40, -3, 16)).toBe(-3);
    expect(fall(-3, -40, 100)).toBe(-6);
    expect(fall(-59, -60, 1000)).toBe(FLOOR_DB);
  });
});
