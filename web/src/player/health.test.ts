import { describe, expect, it } from 'vitest';
import { DecoderWatch, heldMs, type Reading, readStats } from './health';

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

describe('the path', () => {
  const path = (local: Record<string, unknown>, marked = false) => {
    const stats = [
      { type: 'inbound-rtp', id: 'v', kind: 'video' },
      ...(marked ? [] : [{ type: 'transport', id: 't', selectedCandidatePairId: 'p' }]),
      { type: 'candidate-pair', id: 'q', localCandidateId: 'other' },
      { type: 'candidate-pair', id: 'p', localCandidateId: 'l', ...(marked && { selected: true }) },
      { type: 'local-candidate', id: 'other', candidateType: 'host', protocol: 'udp' },
      { type: 'local-candidate', id: 'l', ...local },
    ];
    return readStats(stats)?.path;
  };

  it('is that of the selected pair, named or marked', () => {
    for (const marked of [false, true]) {
      expect(path({ candidateType: 'prflx', protocol: 'udp' }, marked)).toEqual({
        relayed: false,
        over: 'udp',
      });
      expect(path({ candidateType: 'host', protocol: 'tcp' }, marked)).toEqual({
        relayed: false,
        over: 'tcp',
      });
      expect(path({ candidateType: 'relay', protocol: 'udp', relayProtocol: 'udp' }, marked)).toEqual({
        relayed: true,
        over: 'udp',
      });
      expect(path({ candidateType: 'relay', protocol: 'udp', relayProtocol: 'tcp' }, marked)).toEqual({
        relayed: true,
        over: 'tcp',
      });
    }
  });

  it('is unknown before one is selected', () => {
    expect(readStats([{ type: 'inbound-rtp', id: 'v', kind: 'video' }])?.path).toBeNull();
  });
});

describe('heldMs', () => {
  const reading = (heldMs: number, released: number) => ({ heldMs, released }) as Reading;

  it('is of the pictures between two readings, not of all', () => {
    expect(heldMs(reading(100, 10), reading(400, 20))).toBe(30);
  });

  it('says nothing without a reading before, without pictures, and where the browser has no such figure', () => {
    expect(heldMs(null, reading(400, 20))).toBeNull();
    expect(heldMs(reading(100, 10), reading(100, 10))).toBeNull();
    expect(heldMs(reading(0, 0), reading(0, 0))).toBeNull();
  });
});
