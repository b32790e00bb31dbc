import { describe, expect, it } from 'vitest';
import { isGone, offer, retryAfter, WhepRefusal } from './whep';

const signal = new AbortController().signal;
const answering = (response: Response) => async () => response;

describe('offer', () => {
  it('resolves the session against the endpoint, in all forms of Location', async () => {
    for (const [location, session] of [
      ['/pgm/whep/7', 'http://box/pgm/whep/7'],
      ['whep/7', 'http://box/pgm/whep/7'],
      ['http://other/7', 'http://other/7'],
    ] as const) {
      const response = new Response('v=0', { status: 201, headers: { Location: location } });
      const answer = await offer(answering(response), 'http://box/pgm/whep', 'o', signal);
      expect(answer).toEqual({ sdp: 'v=0', session });
    }
    const bare = await offer(answering(new Response('v=0', { status: 201 })), 'http://box/w', 'o', signal);
    expect(bare.session).toBeNull();
  });

  it('rejects with the code and words of the box', async () => {
    const response = new Response('{"code":"b_frames","detail":"set B-frames to 0"}', { status: 422 });
    await expect(offer(answering(response), 'http://box/w', 'o', signal)).rejects.toMatchObject({
      code: 'b_frames',
      message: 'set B-frames to 0',
      status: 422,
    });
  });

  it('makes do with the status where a proxy answers with a page of its own', async () => {
    const response = new Response('<html>', { status: 502, headers: { 'Retry-After': '4' } });
    const refusal = await offer(answering(response), 'http://box/w', 'o', signal).catch((error) => error);
    expect(refusal).toBeInstanceOf(WhepRefusal);
    expect(refusal).toMatchObject({ code: 'http_502', retryAfterMs: 4000 });
  });
});

describe('retryAfter', () => {
  it('reads seconds and dates, and bounds both', () => {
    const now = Date.parse('Thu, 01 Jan 2026 00:00:00 GMT');
    expect(retryAfter('2', now)).toBe(2000);
    expect(retryAfter('Thu, 01 Jan 2026 00:00:05 GMT', now)).toBe(5000);
    expect(retryAfter('Wed, 31 Dec 2025 00:00:00 GMT', now)).toBe(0);
    expect(retryAfter('99999', now)).toBe(60_000);
    expect(retryAfter('soon', now)).toBeNull();
    expect(retryAfter(null, now)).toBeNull();
  });
});

describe('isGone', () => {
  it('counts only a clear no', async () => {
    for (const [status, gone] of [
      [200, false],
      [405, false],
      [404, true],
      [410, true],
      [500, false],
    ] as const) {
      expect(await isGone(answering(new Response(null, { status })), 'http://box/s')).toBe(gone);
    }
  });
});
