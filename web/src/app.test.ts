// @vitest-environment happy-dom
// @vitest-environment-options { "url": "http://192.168.1.20:8889/" }
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Memory, site } from './address';
import { App } from './app';
import type { HelloMessage, Stream, TallyMessage } from './wire';

const stream = (name: string): Stream => ({
  name,
  live: true,
  codec: 'H.264',
  width: 1280,
  height: 720,
  fps: 30,
  sound: null,
  playable: true,
  problem: null,
  viewers: 0,
});

const ON_AIR: TallyMessage = {
  type: 'tally',
  seq: 1,
  source: 'live',
  age_ms: 0,
  inputs: [
    { number: 1, key: 'k1', title: 'CAM 1', kind: 'Capture', tally: 'program' },
    { number: 2, key: 'k2', title: 'CAM 2', kind: 'Capture', tally: 'program' },
  ],
  cameras: [],
  show: { streaming: false, recording: false, external: false, fade_to_black: false },
};

let app: App;
let stored: Record<string, string | null>;
const memory: Memory = {
  get: (key) => stored[key] ?? null,
  set: (key, value) => {
    stored[key] = value;
  },
};

function start(): void {
  app = new App(site(location.href, './', 'pgm'), memory);
  app.start();
}

/** The box speaks for the first time, or again after a restart. */
function hello(...names: string[]): void {
  const streams = names.map(stream);
  const said: HelloMessage = {
    type: 'hello',
    version: '0.1.0',
    now_ms: 0,
    streams,
    listen: { srt: [], latency_ms: 120, page: [] },
  };
  app.link.streams.set(streams);
  app.link.hello.set(said);
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal(
    'WebSocket',
    class {
      readyState = 0;
      close() {}
      send() {}
    },
  );
  stored = {};
  history.replaceState(null, '', '/');
});

afterEach(() => {
  app.player.get().stop();
  app.link.stop();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe('a remembered stream', () => {
  it('gives way to the box’s own if the box does not have it', () => {
    stored.stream = 'gone';
    start();
    expect(app.place.get().stream).toBe('gone');
    hello('pgm');
    expect(app.place.get().stream).toBe('pgm');
  });

  it('stays when the box is restarted and its source is not back yet', () => {
    stored.stream = 'clean';
    start();
    hello('pgm', 'clean');
    hello('pgm');
    expect(app.place.get().stream).toBe('clean');
  });

  it('stays when it was picked, whatever the box says', () => {
    start();
    app.go({ stream: 'clean' });
    hello('pgm');
    expect(app.place.get().stream).toBe('clean');
  });

  it('stays when it was reached by going back', () => {
    start();
    hello('pgm', 'clean');
    history.replaceState(null, '', '/clean');
    dispatchEvent(new PopStateEvent('popstate'));
    hello('pgm');
    expect(app.place.get().stream).toBe('clean');
  });
});

describe('the session that plays', () => {
  it('is named to the box, its edge handed to the player, its delay reported', () => {
    start();
    const { link, delay, player } = app;
    const watch = vi.spyOn(link, 'watch');
    const report = vi.spyOn(link, 'reportDelay');
    const edge = vi.spyOn(player.get(), 'edge');
    player.get().sessionName.set('0af9');
    expect(watch).toHaveBeenLastCalledWith('pgm', '0af9');
    link.onEdge('0af9', 7);
    expect(edge).toHaveBeenCalledWith('0af9', 7);
    vi.advanceTimersByTime(2000);
    expect(report).not.toHaveBeenCalled();
    vi.spyOn(delay, 'delayMs').mockReturnValue(31.4);
    vi.advanceTimersByTime(4000);
    expect(report.mock.calls).toEqual([[31.4], [31.4]]);
  });

  it('is the new player’s after another stream was picked', () => {
    start();
    const before = app.player.get();
    const watch = vi.spyOn(app.link, 'watch');
    app.go({ stream: 'clean' });
    expect(watch).toHaveBeenLastCalledWith('clean', null);
    before.sessionName.set('0af9');
    expect(watch).toHaveBeenLastCalledWith('clean', null);
    app.player.get().sessionName.set('1bf0');
    expect(watch).toHaveBeenLastCalledWith('clean', '1bf0');
  });

  it('begins anew when lip sync is wanted or not any more', () => {
    start();
    const rejoin = vi.spyOn(app.player.get(), 'rejoin');
    app.sound.setLipSync(true);
    expect(rejoin).toHaveBeenCalledOnce();
    expect(stored.lip_sync).toBe('on');
  });

  it('has sound unless the box says that its source sends none', () => {
    start();
    const has = vi.spyOn(app.sound, 'sourceHas');
    hello('pgm');
    expect(has).toHaveBeenLastCalledWith(false);
    app.link.streams.set([{ ...stream('pgm'), live: false }]);
    expect(has).toHaveBeenLastCalledWith(true);
  });
});

describe('vibration', () => {
  it('tells of a cut and of a new camera, not of a new view', () => {
    const felt: unknown[] = [];
    vi.stubGlobal('navigator', { vibrate: (pattern: unknown) => felt.push(pattern), languages: ['en'] });
    start();
    app.go({ camera: 'k1' });
    app.link.tally.set(ON_AIR);
    app.link.state.set('live');
    expect(felt.length).toBe(1);
    app.go({ view: 'lamp' });
    app.go({ view: 'director' });
    expect(felt.length).toBe(1);
    app.go({ camera: 'k2' });
    expect(felt.length).toBe(2);
  });
});
