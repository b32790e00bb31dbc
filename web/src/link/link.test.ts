import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Link, type LinkEnvironment, type Socket } from './link';

class FakeSocket implements Socket {
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: never) => void) | null = null;
  readyState = 0;
  sent: { type: string; id?: number; stream?: string }[] = [];

  send(data: string): void {
    this.sent.push(JSON.parse(data));
  }
  close(): void {
    this.readyState = 3;
  }
  open(): void {
    this.readyState = 1;
    this.onopen?.(undefined as never);
  }
  say(message: object): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
  fall(): void {
    this.readyState = 3;
    this.onclose?.(undefined as never);
  }
  answerPings(most = Number.POSITIVE_INFINITY): void {
    for (const { type, id } of this.sent.splice(0, most)) {
      if (type === 'ping') this.say({ type: 'clock', id, received_ms: 1 });
    }
  }
}

const TALLY = { type: 'tally', seq: 1, source: 'live', age_ms: 1, inputs: [], cameras: [], show: {} };
const hello = (now_ms: number) => ({ type: 'hello', version: '1', now_ms, streams: [], listen: {} });

let sockets: FakeSocket[];
let asleepMs: number;
let link: Link;

const newest = (): FakeSocket => {
  const socket = sockets[sockets.length - 1];
  if (!socket) throw new Error('no socket was opened');
  return socket;
};

function live(): FakeSocket {
  link.start();
  const socket = newest();
  socket.open();
  socket.say(TALLY);
  socket.answerPings();
  return socket;
}

/** Lets time pass with the box saying its tally twice a second and answering pings. */
function alive(socket: FakeSocket, ms: number): void {
  for (let passed = 0; passed < ms; passed += 500) {
    vi.advanceTimersByTime(500);
    socket.say(TALLY);
    socket.answerPings();
  }
}

beforeEach(() => {
  vi.useFakeTimers();
  sockets = [];
  asleepMs = 0;
  const env: LinkEnvironment = {
    open: () => {
      const socket = new FakeSocket();
      sockets.push(socket);
      return socket;
    },
    now: () => performance.now(),
    wall: () => Date.now() + asleepMs,
    random: () => 1,
  };
  link = new Link('ws://box/ws/', env);
});

afterEach(() => {
  link.stop();
  vi.useRealTimers();
});

describe('Link', () => {
  it('is live from the first tally on', () => {
    link.start();
    newest().open();
    expect(link.state.get()).toBe('connecting');
    newest().say(TALLY);
    expect(link.state.get()).toBe('live');
    expect(link.tally.get()?.seq).toBe(1);
  });

  it('is silent two seconds after the last tally, whatever else still comes', () => {
    const socket = live();
    vi.advanceTimersByTime(1000);
    socket.say({ type: 'media', stream: 'pgm', rtp: [] });
    vi.advanceTimersByTime(999);
    expect(link.state.get()).toBe('live');
    vi.advanceTimersByTime(5);
    expect(link.state.get()).toBe('silent');
    socket.say(TALLY);
    expect(link.state.get()).toBe('live');
  });

  it('counts how old the box’s knowledge was when it was sent', () => {
    const socket = live();
    socket.say({ ...TALLY, age_ms: 1500 });
    expect(link.state.get()).toBe('live');
    vi.advanceTimersByTime(499);
    expect(link.state.get()).toBe('live');
    vi.advanceTimersByTime(5);
    expect(link.state.get()).toBe('silent');
    socket.say({ ...TALLY, age_ms: 2500 });
    expect(link.state.get()).toBe('silent');
    socket.say(TALLY);
    expect(link.state.get()).toBe('live');
  });

  it('does not hold the age against a box that says itself that it does not know', () => {
    const socket = live();
    socket.say({ ...TALLY, source: 'unknown', age_ms: 60_000 });
    expect(link.state.get()).toBe('live');
  });

  it('is silent while questions stay unanswered for two seconds, though tally comes', () => {
    const socket = live();
    alive(socket, 3000);
    socket.sent = [];
    for (let passed = 0; passed < 3500; passed += 250) {
      vi.advanceTimersByTime(250);
      socket.say(TALLY);
    }
    expect(link.state.get()).toBe('silent');
    // Late answers prove that the path is late.
    socket.answerPings(1);
    socket.say(TALLY);
    expect(link.state.get()).toBe('silent');
    alive(socket, 1500);
    expect(link.state.get()).toBe('live');
    expect(sockets.length).toBe(1);
  });

  it('raises no alarm while the network hesitates for half a second', () => {
    const socket = live();
    const states = new Set<string>();
    link.state.subscribe((state) => states.add(state));
    for (let second = 0; second < 60; second += 1) {
      vi.advanceTimersByTime(second % 3 === 0 ? 1450 : 1000);
      socket.say({ ...TALLY, age_ms: 500 });
      socket.answerPings();
    }
    expect([...states]).toEqual([]);
  });

  it('replaces a socket that has gone dead', () => {
    live();
    vi.advanceTimersByTime(5000);
    expect(sockets.length).toBe(2);
  });

  it('is back within three seconds of the network, whenever that comes back', () => {
    const first = 5000;
    for (let back = first; back < 25_000; back += 200) {
      live();
      let waited: number | null = null;
      const opened = new Map<FakeSocket, number>();
      for (let passed = 0; waited === null && passed < back + 10_000; passed += 50) {
        vi.advanceTimersByTime(50);
        const socket = newest();
        const since = passed - (opened.get(socket) ?? passed);
        if (!opened.has(socket)) opened.set(socket, passed);
        // What asks for a connection, or for the box's link-layer address, is sent once a second.
        if (socket.readyState === 0 && passed >= back && since % 1000 === 0) {
          socket.open();
          socket.say(TALLY);
          waited = passed - back;
        }
      }
      expect(link.state.get()).toBe('live');
      expect(waited, `after ${back} ms`).toBeLessThanOrEqual(3000);
      link.stop();
    }
  });

  it('is down at once when the socket closes, and tries again for ever, at least every two seconds', () => {
    live().fall();
    expect(link.state.get()).toBe('down');
    for (let i = 2; i < 12; i += 1) {
      vi.advanceTimersByTime(2000);
      expect(sockets.length).toBeGreaterThanOrEqual(i);
      newest().fall();
    }
  });

  it('replaces a socket that never opens', () => {
    link.start();
    vi.advanceTimersByTime(3600);
    expect(sockets.length).toBe(2);
  });

  it('believes nothing on waking until the box has answered a question asked after it', () => {
    const socket = live();
    link.wake();
    expect(link.state.get()).toBe('waking');
    // What had piled up while the page was frozen comes first.
    socket.say(TALLY);
    expect(link.state.get()).toBe('waking');
    socket.answerPings();
    expect(link.state.get()).toBe('live');
  });

  it('opens a new socket when the old one says nothing after waking', () => {
    live();
    link.wake();
    vi.advanceTimersByTime(1300);
    expect(sockets.length).toBe(2);
    newest().open();
    newest().say(TALLY);
    expect(link.state.get()).toBe('live');
  });

  it('believes nothing on waking from a socket that was closed in the meantime', () => {
    const socket = live();
    socket.readyState = 3;
    link.wake();
    expect(link.state.get()).toBe('down');
    expect(sockets.length).toBe(2);
  });

  it('notices by itself that the machine slept, though the monotonic clock stood still', () => {
    live();
    asleepMs += 60_000;
    vi.advanceTimersByTime(250);
    expect(link.state.get()).toBe('waking');
  });

  it('does not believe a tally from before a sleep even without a beat in between', () => {
    const socket = live();
    asleepMs += 60_000;
    socket.say({ type: 'streams', streams: [] });
    expect(link.state.get()).not.toBe('live');
  });

  it('stays live while tally keeps coming', () => {
    const socket = live();
    alive(socket, 60_000);
    expect(link.state.get()).toBe('live');
    expect(sockets.length).toBe(1);
  });

  it('watches the chosen stream on every new socket', () => {
    link.watch('pgm', null);
    const first = live();
    first.fall();
    vi.advanceTimersByTime(300);
    newest().open();
    expect(newest().sent).toContainEqual({ type: 'watch', stream: 'pgm' });
    link.watch('clean', null);
    expect(newest().sent).toContainEqual({ type: 'watch', stream: 'clean' });
  });

  it('names the session that plays it, on every new socket, and hears of its edge', () => {
    const edges: unknown[] = [];
    link.onEdge = (...edge) => edges.push(edge);
    const first = live();
    link.watch('pgm', '0af9');
    expect(first.sent).toContainEqual({ type: 'watch', stream: 'pgm', session: '0af9' });
    first.say({ type: 'edge', session: '0af9', rtp: 7 });
    expect(edges).toEqual([['0af9', 7]]);
    first.fall();
    expect(link.isOpen()).toBe(false);
    vi.advanceTimersByTime(300);
    newest().open();
    expect(link.isOpen()).toBe(true);
    expect(newest().sent).toContainEqual({ type: 'watch', stream: 'pgm', session: '0af9' });
  });

  it('reports the delay in whole milliseconds, and no more than the box takes', () => {
    const socket = live();
    link.reportDelay(31.4);
    link.reportDelay(1e9);
    expect(socket.sent).toContainEqual({ type: 'delay', ms: 31 });
    expect(socket.sent).toContainEqual({ type: 'delay', ms: 60_000 });
  });

  it('pings, and so learns the clock of the box', () => {
    const socket = live();
    alive(socket, 2000);
    expect(link.clock.toBox(0)).not.toBeNull();
  });

  it('tells when the box was restarted, and only then', () => {
    const restarted = vi.fn();
    link.onBoxRestart = restarted;
    live().say(hello(90_000));
    newest().fall();
    vi.advanceTimersByTime(300);
    newest().open();
    newest().say(hello(90_300));
    expect(restarted).not.toHaveBeenCalled();
    newest().fall();
    vi.advanceTimersByTime(3000);
    newest().open();
    newest().say(hello(1200));
    expect(restarted).toHaveBeenCalledOnce();
  });

  it('tries at once when the network comes back', () => {
    live().fall();
    vi.advanceTimersByTime(300);
    newest().fall();
    const before = sockets.length;
    link.wake();
    expect(sockets.length).toBe(before + 1);
  });

  it('survives anything that is not a message', () => {
    const socket = live();
    for (const data of [
      '',
      '{',
      'null',
      '[]',
      '{"type":"tally"}',
      '{"type":7}',
      new ArrayBuffer(3),
      undefined,
    ]) {
      socket.onmessage?.({ data });
    }
    expect(link.state.get()).toBe('live');
  });
});
