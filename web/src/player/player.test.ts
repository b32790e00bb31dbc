import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FakeWorld, refuse } from './fakes';
import { Player } from './player';

const OPUS = 'a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n';

const URL_ = 'http://box/pgm/whep';

let world: FakeWorld;
let player: Player;
const state = () => player.status.get().state;
const tick = (ms = 0) => vi.advanceTimersByTimeAsync(ms);

beforeEach(() => {
  vi.useFakeTimers();
  world = new FakeWorld();
  player = new Player(URL_, world.env);
});

afterEach(() => {
  player.stop();
  vi.useRealTimers();
});

async function playing(): Promise<void> {
  player.start();
  await tick();
  world.peer().become('connected');
  player.frame();
  await world.flow(1500, 300, 30, () => player.frame());
  expect(state()).toBe('playing');
}

describe('joining', () => {
  it('offers to receive picture and sound in one POST, and plays', async () => {
    await playing();
    expect(world.requests[0]).toMatchObject({ method: 'POST', url: URL_, init: { body: 'v=0 offer' } });
    expect(world.peer().receivers.map(({ kind }) => kind)).toEqual(['video', 'audio']);
    expect(world.peer().answer).toBe('v=0 answer');
    expect(player.media.get()).not.toBeNull();
    expect(world.count('POST')).toBe(1);
  });

  it('lets the jitter buffer hold nothing of the picture, and does not touch the sound', async () => {
    await playing();
    expect(world.peer().receivers.map(({ jitterBufferTarget }) => jitterBufferTarget)).toEqual([0, null]);
  });

  it('waits as long as Retry-After asks when nothing is live', async () => {
    world.post = async () => refuse(409, 'not_live', { 'Retry-After': '3' });
    player.start();
    await tick();
    expect(player.status.get()).toEqual({ state: 'waiting', reason: 'not_live', detail: 'because not_live' });
    await tick(2900);
    expect(world.count('POST')).toBe(1);
    await tick(200);
    expect(world.count('POST')).toBe(2);
    expect(state()).toBe('waiting');
  });

  it('does not sit out Retry-After once the box says that the source runs', async () => {
    world.post = async () => refuse(409, 'not_live', { 'Retry-After': '60' });
    player.start();
    player.sourceRuns(false);
    await tick(100);
    player.sourceRuns(true);
    await tick();
    expect(world.count('POST')).toBe(2);
  });

  it('names the reason of a refusal, and asks again later', async () => {
    world.post = async () => refuse(422, 'b_frames');
    player.start();
    await tick();
    expect(player.status.get()).toMatchObject({ state: 'refused', reason: 'b_frames' });
    await tick(5000);
    expect(world.count('POST')).toBe(2);
  });

  it('backs off from a box that does not answer, up to a cap, for ever', async () => {
    world.post = async () => {
      throw new TypeError('network');
    };
    player.start();
    await tick();
    expect(state()).toBe('lost');
    await tick(60_000);
    const after = world.count('POST');
    expect(after).toBeGreaterThan(14);
    expect(after).toBeLessThan(25);
  });

  it('gives up on a connection that does not come about, and ends its session', async () => {
    player.start();
    await tick(8000);
    expect(state()).toBe('lost');
    expect(world.count('DELETE')).toBe(1);
    await tick(300);
    expect(world.count('POST')).toBe(2);
  });

  it('does not take a long wait for the first IDR for a hung decoder', async () => {
    player.start();
    await tick();
    world.peer().become('connected');
    await world.flow(10_000, 300, 0);
    expect(world.count('POST')).toBe(1);
    expect(state()).toBe('joining');
  });

  it('takes a full box for what it is, and asks again when it wishes', async () => {
    world.post = async () => refuse(503, 'full', { 'Retry-After': '10' });
    player.start();
    await tick();
    expect(player.status.get()).toMatchObject({ state: 'refused', reason: 'full' });
    await tick(9900);
    expect(world.count('POST')).toBe(1);
    await tick(200);
    expect(world.count('POST')).toBe(2);
  });

  it('keeps trying a box or a proxy that says no more than 503', async () => {
    world.post = async () => refuse(503, 'stopping');
    player.start();
    await tick();
    expect(player.status.get()).toMatchObject({ state: 'lost', reason: 'stopping' });
  });

  it('names the port when the box answers and no video arrives, until it does', async () => {
    world.post = async () =>
      new Response('v=0\r\na=candidate:1 1 UDP 2130706431 192.168.1.20 8190 typ host\r\n', { status: 201 });
    player.start();
    await tick(7900);
    expect(player.blockedPort.get()).toBeNull();
    await tick(200);
    expect(player.blockedPort.get()).toBe('8190');
    await tick(1000);
    expect(player.blockedPort.get()).toBe('8190');
    world.peer().become('connected');
    expect(player.blockedPort.get()).toBeNull();
  });

  it('does not suspect a port where the box itself does not answer', async () => {
    world.post = () => new Promise(() => {});
    player.start();
    await tick(9000);
    expect(player.blockedPort.get()).toBeNull();
  });

  it('joins with its plain offer where the browser takes no changes to it', async () => {
    world.offer = OPUS;
    world.strict = true;
    await playing();
    expect(world.requests[0]?.init.body).toBe(OPUS);
  });

  it('keeps sound and picture apart, so that neither waits for the other', async () => {
    await playing();
    expect(player.sound.get()).toBeNull();
    world.sound = true;
    player.rejoin();
    await tick();
    expect(player.sound.get()).toMatchObject({ tracks: [{ kind: 'audio' }] });
    world.peer().track.unmute();
    expect(player.media.get()).toMatchObject({ tracks: [{ kind: 'video' }] });
    world.sound = false;
    player.rejoin();
    await tick();
    expect(player.sound.get()).toBeNull();
  });

  it('hands the wish for lip sync to the box, where there is one, and goes by what the box made of it', async () => {
    let lipSync: boolean | null = null;
    player = new Player(URL_, world.env, {
      delayMs: () => null,
      namesEdges: () => false,
      lipSync: () => lipSync,
    });
    await playing();
    lipSync = true;
    const answer = 'v=0\r\nm=video 9 X 1\r\na=msid:p v\r\nm=audio 9 X 2\r\na=msid:p a\r\n';
    world.post = async () => new Response(answer, { status: 201, headers: { Location: '/pgm/whep/2' } });
    player.rejoin();
    await tick();
    expect(player.inSync.get()).toBe(true);
    expect(world.peer().answer).toBe(answer);
    lipSync = false;
    player.rejoin();
    await tick();
    const posts = world.requests.filter(({ method }) => method === 'POST').map(({ url }) => url);
    expect(posts).toEqual([URL_, `${URL_}?lip_sync=1`, `${URL_}?lip_sync=0`]);
  });

  it('names its session as the box does', async () => {
    await playing();
    expect(player.sessionName.get()).toBe('1');
    player.stop();
    expect(player.sessionName.get()).toBeNull();
  });

  it('asks for both channels of the sound', async () => {
    world.offer = OPUS;
    await playing();
    expect(world.requests[0]?.init.body).toContain('a=fmtp:111 minptime=10;useinbandfec=1;stereo=1\r\n');
  });

  it('says so where there is no WebRTC', () => {
    world.env.createPeer = () => {
      throw new ReferenceError('RTCPeerConnection is not defined');
    };
    player.start();
    expect(player.status.get()).toMatchObject({ state: 'refused', reason: 'no_webrtc' });
  });
});

describe('keeping the session', () => {
  it('outlives a pause of the source, however long, and plays on in the same session', async () => {
    await playing();
    player.sourceRuns(false);
    await world.flow(60_000, 0, 0);
    expect(state()).toBe('paused');
    player.sourceRuns(true);
    await tick(300);
    player.frame();
    expect(state()).toBe('playing');
    expect(world.count('POST')).toBe(1);
    expect(world.count('DELETE')).toBe(0);
  });

  it('says within a second and a half that the picture stands still', async () => {
    await playing();
    await world.flow(1400, 0, 0);
    expect(state()).toBe('paused');
  });

  it('replaces a session that gets nothing although the source runs', async () => {
    await playing();
    player.sourceRuns(true);
    await world.flow(8000, 0, 0);
    expect(world.count('POST')).toBe(2);
    expect(world.count('DELETE')).toBe(1);
  });

  it('sits out a short disconnection', async () => {
    await playing();
    world.peer().become('disconnected');
    await tick(2500);
    world.peer().become('connected');
    await world.flow(5000, 300, 30, () => player.frame());
    expect(world.count('POST')).toBe(1);
    expect(state()).toBe('playing');
  });

  it('calls a picture still that is decoded but not shown, except on a hidden page', async () => {
    await playing();
    world.hidden = true;
    await world.flow(3000, 300, 30);
    expect(state()).toBe('playing');
    world.hidden = false;
    await world.flow(1500, 300, 30);
    expect(state()).toBe('paused');
    expect(world.count('POST')).toBe(1);
  });

  it('goes by the decoder where the browser has no frame callbacks', async () => {
    const plain = new Player(URL_, { ...world.env, frameCallbacks: false });
    plain.start();
    await tick();
    world.peer().become('connected');
    await world.flow(1500, 300, 30);
    expect(plain.status.get().state).toBe('playing');
    await world.flow(1800, 0, 0);
    expect(plain.status.get().state).toBe('paused');
    plain.stop();
  });

  it('replaces a session that stays disconnected, and one whose ICE has failed', async () => {
    await playing();
    world.peer().become('disconnected');
    await tick(4300);
    expect(world.count('POST')).toBe(2);
    world.peer().become('failed');
    expect(state()).toBe('lost');
    await tick(600);
    expect(world.count('POST')).toBe(3);
    world.peer().track.unmute();
    expect(world.peers.map(({ closed }) => closed)).toEqual([true, true, false]);
  });

  it('keeps the last picture up until there is a new one', async () => {
    await playing();
    const before = player.media.get();
    const [old] = world.peers;
    world.peer().become('failed');
    await tick(300);
    expect(world.peers.length).toBe(2);
    expect(player.media.get()).toBe(before);
    expect(old?.closed).toBe(false);
    world.peer().track.unmute();
    expect(player.media.get()).not.toBe(before);
    expect(old?.closed).toBe(true);
  });
});

describe('the picture that is up', () => {
  it('is none before the first frame, whatever the tracks say', async () => {
    player.start();
    await tick();
    expect(player.media.get()).not.toBeNull();
    expect(player.seen.get()).toBe(false);
    world.peer().become('connected');
    player.frame();
    expect(player.seen.get()).toBe(true);
  });

  it('is not live while the session is joined anew, until a frame of the new one comes', async () => {
    await playing();
    const states = new Set<string>();
    player.status.subscribe(({ state }) => states.add(state));
    player.rejoin();
    // One of the old session's frames, drawn late.
    player.frame();
    await tick();
    player.frame();
    expect(state()).toBe('joining');
    expect(player.seen.get()).toBe(true);
    expect([...states]).toEqual(['lost', 'joining']);
    world.peer().become('connected');
    world.peer().track.unmute();
    expect(player.seen.get()).toBe(false);
    player.frame();
    expect(player.seen.get()).toBe(true);
    expect(state()).toBe('playing');
  });
});

describe('a joiner', () => {
  let delay: number | null;
  beforeEach(async () => {
    delay = null;
    player = new Player(URL_, world.env, {
      delayMs: () => delay,
      namesEdges: () => true,
      lipSync: () => null,
    });
    player.start();
    await tick();
    world.peer().become('connected');
  });

  /** Plays for a while with this delay. */
  const live = async (ms: number, delayMs: number) => {
    delay = delayMs;
    await world.flow(ms, 300, 30, () => player.frame(90_000));
  };

  it('is shown nothing before the edge', async () => {
    expect(player.frame(3000)).toBe(false);
    player.edge('1', 9000);
    expect(player.frame(6000)).toBe(false);
    expect(player.seen.get()).toBe(false);
    expect(state()).toBe('joining');
    expect(player.frame(9000)).toBe(true);
    expect(player.seen.get()).toBe(true);
    expect(state()).toBe('playing');
    expect(player.frame(3000)).toBe(true);
  });

  it('is shown the next picture when that at the edge has waited for the decoder', async () => {
    player.edge('1', 9000);
    expect(player.frame(9000, world.env.now() - 137)).toBe(false);
    expect(player.seen.get()).toBe(false);
    expect(player.frame(12_000, world.env.now() - 20)).toBe(true);
  });

  it('waits no longer than 250 ms after the edge where every picture is slow', async () => {
    player.frame(9000, world.env.now() - 137);
    player.edge('1', 9000);
    await tick(240);
    expect(player.seen.get()).toBe(false);
    await tick(20);
    expect(player.seen.get()).toBe(true);
  });

  it('does not take a picture that waits for its sound for a late one', () => {
    player.inSync.set(true);
    player.edge('1', 9000);
    expect(player.frame(9000, world.env.now() - 137)).toBe(true);
  });

  it('is not shown the past for the edge of another session', () => {
    player.edge('0', 3000);
    expect(player.frame(3000)).toBe(false);
  });

  it('is shown pictures that the browser decodes but does not tell of', async () => {
    await world.flow(1000, 300, 30);
    expect(player.seen.get()).toBe(false);
    await world.flow(1500, 300, 30);
    expect(player.seen.get()).toBe(true);
    expect(state()).toBe('playing');
  });

  it('is shown the picture as soon as the edge turns out to be reached', () => {
    player.frame(9000);
    expect(player.seen.get()).toBe(false);
    player.edge('1', 9000);
    expect(player.seen.get()).toBe(true);
  });

  it('waits no longer than 300 ms for an edge that is never named', async () => {
    player.frame(3000);
    await tick(290);
    expect(player.seen.get()).toBe(false);
    await tick(20);
    expect(player.seen.get()).toBe(true);
    expect(state()).toBe('playing');
  });

  it('waits no longer than a second for an edge that is never reached', async () => {
    player.edge('1', 900_000);
    player.frame(3000);
    await tick(990);
    expect(player.seen.get()).toBe(false);
    await tick(20);
    expect(player.seen.get()).toBe(true);
  });

  it('drops to live when the delay has grown, says so, and begins anew', async () => {
    await live(5000, 30);
    expect(player.catchingUp.get()).toBe(false);
    await live(3000, 300);
    expect(player.catchingUp.get()).toBe(true);
    expect(world.count('POST')).toBe(1);
    await live(2500, 300);
    expect(world.count('POST')).toBe(2);
    expect(state()).toBe('joining');
    expect(player.catchingUp.get()).toBe(true);
    world.peer().become('connected');
    world.peer().track.unmute();
    player.edge('2', 9000);
    player.frame(9000);
    expect(player.catchingUp.get()).toBe(false);
    expect(state()).toBe('playing');
  });

  it('speaks of catching up only while something is done about it, and of a late picture throughout', async () => {
    await live(5000, 30);
    await live(6000, 300);
    world.peer().become('connected');
    world.peer().track.unmute();
    player.edge('2', 9000);
    await live(1000, 30);
    expect([player.late.get(), player.catchingUp.get()]).toEqual([false, false]);
    await live(3000, 300);
    expect([player.late.get(), player.catchingUp.get()]).toEqual([true, true]);
    // The next session may not begin before ten seconds after the last.
    await live(4000, 300);
    expect([player.late.get(), player.catchingUp.get()]).toEqual([true, false]);
    expect(world.count('POST')).toBe(2);
    await live(1000, 30);
    expect(player.late.get()).toBe(false);
  });

  it('goes by the browser’s own figures while the box is silent', async () => {
    const playFor = async (ms: number, heldMs: number) => {
      for (let passed = 0; passed < ms; passed += 100) {
        world.peer().heldS += (3 * heldMs) / 1000;
        await world.flow(100, 300, 30, () => player.frame(90_000));
      }
    };
    await playFor(5000, 5);
    await playFor(7000, 400);
    expect(world.count('POST')).toBe(2);
  });

  it('is left alone while its page is hidden', async () => {
    await live(5000, 30);
    world.hidden = true;
    await live(20_000, 900);
    expect(world.count('POST')).toBe(1);
  });
});

describe('a renderer that shows nothing of what is decoded', () => {
  it('gets the media anew after five seconds, and a new session if that does not help', async () => {
    await playing();
    const before = player.media.get();
    await world.flow(4500, 300, 30);
    expect(player.media.get()).toBe(before);
    await world.flow(1500, 300, 30);
    expect(player.media.get()).not.toBe(before);
    expect(world.count('POST')).toBe(1);
    await world.flow(7000, 300, 30);
    expect(world.count('POST')).toBe(2);
  });

  it('is left alone once it shows pictures again', async () => {
    await playing();
    await world.flow(6000, 300, 30);
    const again = player.media.get();
    await world.flow(20_000, 300, 30, () => player.frame());
    expect(player.media.get()).toBe(again);
    expect(world.count('POST')).toBe(1);
  });

  it('is not blamed while a tap is waited for, or the page is hidden', async () => {
    await playing();
    const before = player.media.get();
    player.waitsForTap = true;
    await world.flow(12_000, 300, 30);
    player.waitsForTap = false;
    world.hidden = true;
    await world.flow(12_000, 300, 30);
    expect(player.media.get()).toBe(before);
    expect(world.count('POST')).toBe(1);
  });
});

describe('a source that went away while the session was lost', () => {
  it('takes the old picture with it', async () => {
    await playing();
    world.post = async () => refuse(409, 'not_live');
    world.peer().become('failed');
    await tick(300);
    expect(state()).toBe('waiting');
    expect(player.media.get()).toBeNull();
    expect(world.peers.every(({ closed }) => closed)).toBe(true);
  });
});

describe('a hung decoder', () => {
  it('is seen by packets that come while no picture is made, and the stream is joined anew', async () => {
    await playing();
    await world.flow(5000, 300, 0);
    expect(world.count('POST')).toBe(2);
  });

  it('gets more time each time, so that a stream that cannot be decoded is not joined in a circle', async () => {
    await playing();
    await world.flow(5000, 300, 0);
    world.peer().become('connected');
    await world.flow(20_000, 300, 0);
    expect(world.count('POST')).toBe(2);
  });

  it('is not suspected while the page is hidden', async () => {
    await playing();
    world.hidden = true;
    await world.flow(20_000, 300, 0);
    expect(world.count('POST')).toBe(1);
  });
});

describe('waking', () => {
  it('asks whether the session is still known, and keeps it if so', async () => {
    await playing();
    player.wake();
    await tick();
    expect(world.requests.at(-1)).toMatchObject({ method: 'GET', url: 'http://box/pgm/whep/1' });
    expect(world.count('POST')).toBe(1);
  });

  it('joins anew at once when the box has forgotten the session', async () => {
    await playing();
    world.get = async () => new Response(null, { status: 404 });
    player.wake();
    await tick();
    expect(world.count('POST')).toBe(2);
  });

  it('keeps the session when the question cannot be put', async () => {
    await playing();
    world.get = async () => {
      throw new TypeError('network');
    };
    player.wake();
    await tick();
    expect(world.count('POST')).toBe(1);
  });

  it('does not sit out a back-off or a failed connection', async () => {
    await playing();
    world.post = async () => {
      throw new TypeError('network');
    };
    world.peer().become('failed');
    await tick(20_000);
    const before = world.count('POST');
    player.wake();
    await tick();
    expect(world.count('POST')).toBe(before + 1);
  });
});

describe('leaving', () => {
  it('tells the box with a request that outlives the page', async () => {
    await playing();
    player.stop();
    expect(world.requests.at(-1)).toMatchObject({
      method: 'DELETE',
      url: 'http://box/pgm/whep/1',
      init: { keepalive: true },
    });
    expect(world.peer().closed).toBe(true);
    expect(state()).toBe('idle');
    await tick(60_000);
    expect(world.count('POST')).toBe(1);
  });

  it('ends a session whose answer comes too late', async () => {
    let answer: (response: Response) => void = () => {};
    world.post = () => new Promise((resolve) => (answer = resolve));
    player.start();
    await tick();
    player.stop();
    answer(new Response('v=0', { status: 201, headers: { Location: '/pgm/whep/late' } }));
    await tick();
    expect(world.requests.at(-1)).toMatchObject({ method: 'DELETE', url: 'http://box/pgm/whep/late' });
  });

  it('can begin anew', async () => {
    await playing();
    player.stop();
    await playing();
    expect(world.count('POST')).toBe(2);
  });
});
