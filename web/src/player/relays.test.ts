import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FakePeer } from './fakes';
import { relay } from './relays';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const SERVERS = [{ urls: ['turn:192.0.2.1:3478?transport=tcp'], username: '3600:a', credential: 'b' }];

async function given(answer: () => Promise<Response>) {
  const peer = new FakePeer();
  const asked = vi.fn(answer);
  const done = relay(asked, peer as unknown as RTCPeerConnection, '/pgm/whep');
  await vi.advanceTimersByTimeAsync(2000);
  await done;
  expect(asked.mock.calls).toEqual([['/pgm/whep/ice-servers', { cache: 'no-store' }]]);
  return peer.configuration;
}

describe('relays', () => {
  it('are given to the connection, which keeps what it had', async () => {
    const answer = async () => Response.json({ iceServers: SERVERS, holds_s: 3600 });
    expect(await given(answer)).toEqual({ bundlePolicy: 'max-bundle', iceServers: SERVERS });
  });

  it('are done without where the box names none, or nothing comes', async () => {
    const plain = { bundlePolicy: 'max-bundle' };
    expect(await given(async () => new Response(null, { status: 404 }))).toEqual(plain);
    expect(await given(() => Promise.reject(new TypeError('network')))).toEqual(plain);
    expect(await given(() => new Promise(() => {}))).toEqual(plain);
  });
});
