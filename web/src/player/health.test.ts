import { describe, expect, it } from 'vitest';
import { DecoderWatch, readStats } from './health';

describe('DecoderWatch', () => {
  const run = (watch: DecoderWatch, seconds: number, packets: number, frames: number, hidden = false) => {
    const seen = new Set<string>();
    for (let i = 0; i <= seconds * 2; i += 1) {
      seen.add(watch.read(i * 500, { packetsReceived: i * packets, framesDecoded: 1 + i * frames }, hidden));
    }
    return [...seen];
  };

  it('tells flowing, pausing and stuck apart', () => {
    expect(run(new DecoderWatch(), 20, 100, 15)).toEqual(['flowing']);
    expect(run(new DecoderWatch(), 20, 0, 0)).toEqual(['flowing', 'quiet']);
    expect(run(new DecoderWatch(), 20, 100, 0)).toContain('stuck');
  });

  it('is patient with what hung before, and with hidden pages', () => {
    expect(run(new DecoderWatch(8), 20, 100, 0)).not.toContain('stuck');
    expect(run(new DecoderWatch(), 20, 100, 0, true)).not.toContain('stuck');
  });
});

describe('readStats', () => {
  it('takes the video out of a report, in either spelling', () => {
    const report = new Map<string, Record<string, unknown>>([
      ['a', { type: 'inbound-rtp', kind: 'audio', packetsReceived: 9 }],
      [
        'v',
        {
          type: 'inbound-rtp',
          mediaType: 'video',
          packetsReceived: 5,
          framesDecoded: 2,
          jitter: 0.002,
          codecId: 'c',
        },
      ],
      ['c', { type: 'codec', id: 'c', mimeType: 'video/H264' }],
    ]);
    expect(readStats(report)).toMatchObject({
      packetsReceived: 5,
      framesDecoded: 2,
      jitterMs: 2,
      codec: 'H264',
    });
    expect(readStats(new Map())).toBeNull();
  });
});
