import { describe, expect, it } from 'vitest';
import { parseMessage } from './wire';

describe('parseMessage', () => {
  it('reads a tally snapshot as the box sends it', () => {
    const text =
      '{"type":"tally","seq":12,"source":"live","age_ms":40,"inputs":[{"number":1,"key":"k","title":"CAM 1","kind":"Capture","tally":"program"}],"cameras":[{"name":"A","inputs":[1,4],"tally":"preview"}],"show":{"streaming":true,"recording":false,"external":false,"fade_to_black":false}}';
    expect(parseMessage(text)).toEqual(JSON.parse(text));
  });

  it('reads hello, streams, clock and media', () => {
    const stream = {
      name: 'pgm',
      live: true,
      codec: 'H.264',
      width: 1280,
      height: 720,
      fps: 29.97,
      sound: { codec: 'AAC', channels: 2, sample_rate_hz: 48_000 },
      playable: false,
      problem: { code: 'b_frames', text: 'x' },
      viewers: 3,
    };
    for (const message of [
      {
        type: 'hello',
        version: '0.1.0',
        now_ms: 1.5,
        streams: [stream],
        listen: { srt: [{ url: 'srt://h:1', stream_id: 'pgm' }], latency_ms: 120, page: ['http://h/'] },
      },
      { type: 'streams', streams: [{ ...stream, problem: null, sound: null }] },
      { type: 'clock', id: 7, received_ms: 3.25 },
      { type: 'media', stream: 'pgm', rtp: [[4294967295, 2.5]] },
      { type: 'edge', session: '0af9', rtp: 4294967295 },
    ]) {
      expect(parseMessage(JSON.stringify(message))).toEqual(message);
    }
  });

  it('takes every tally it does not know for unknown', () => {
    const message = parseMessage(
      '{"type":"tally","source":"maybe","inputs":[{"tally":"PROGRAM"},{"tally":1},{}],"cameras":"x"}',
    );
    expect(message).toMatchObject({
      source: 'unknown',
      inputs: [{ tally: 'unknown' }, { tally: 'unknown' }, { tally: 'unknown' }],
      cameras: [],
    });
  });

  it('takes sound whose numbers are not known yet, and no edge without its timestamp', () => {
    const message = '{"type":"streams","streams":[{"sound":{"codec":"AAC","channels":null}},{"sound":7}]}';
    expect(parseMessage(message)).toMatchObject({
      streams: [{ sound: { codec: 'AAC', channels: 0, sample_rate_hz: 0 } }, { sound: null }],
    });
    expect(parseMessage('{"type":"edge"}')).toBeNull();
    expect(parseMessage('{"type":"edge","rtp":"7"}')).toBeNull();
  });

  it('never throws, and answers null to what is no message', () => {
    for (const data of [
      '',
      'x',
      '1',
      'null',
      '[]',
      '{}',
      '{"type":"bye"}',
      7,
      null,
      undefined,
      new ArrayBuffer(1),
    ]) {
      expect(parseMessage(data)).toBeNull();
    }
    for (const type of ['tally', 'hello', 'streams', 'clock', 'media', 'edge']) {
      for (const junk of [null, 1, 'x', [], [null, 1], {}]) {
        const keys = ['streams', 'listen', 'inputs', 'cameras', 'show', 'rtp', 'id', 'now_ms'];
        const message = Object.fromEntries(keys.map((key) => [key, junk]));
        expect(() => parseMessage(JSON.stringify({ ...message, type }))).not.toThrow();
      }
    }
  });
});
