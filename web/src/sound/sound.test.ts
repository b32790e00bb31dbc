// @vitest-environment happy-dom
import { beforeEach, describe, expect, it } from 'vitest';
import type { Memory } from '../address';
import { Sound, type SoundElement } from './sound';

class FakeElement implements SoundElement {
  srcObject: MediaProvider | null = null;
  muted = false;
  volume = 1;
  paused = true;
  plays = 0;
  /** Whether the browser insists on a tap. */
  insists = false;
  #tell = () => {};
  /** As the system does it. */
  pause() {
    this.paused = true;
    this.#tell();
  }
  async play() {
    this.plays += 1;
    if (this.insists && !this.muted) throw new DOMException('no', 'NotAllowedError');
    this.paused = false;
  }
  addEventListener(_type: 'pause', tell: () => void) {
    this.#tell = tell;
  }
  removeEventListener() {
    this.#tell = () => {};
  }
}

/** iOS: what is set is not taken. */
function stubborn(): FakeElement {
  return Object.defineProperty(new FakeElement(), 'volume', { get: () => 1, set: () => {} });
}

const STREAM = { id: 'first', active: true } as MediaStream;
const settled = () => new Promise((resolve) => setTimeout(resolve));

let stored: Record<string, string | null>;
let element: FakeElement;
let sound: Sound;
const memory: Memory = {
  get: (key) => stored[key] ?? null,
  set: (key, value) => {
    stored[key] = value;
  },
};
const open = () => {
  sound = new Sound(memory, () => {
    throw new Error('no meter here');
  });
  return sound.attach(element);
};

beforeEach(() => {
  stored = {};
  element = new FakeElement();
});

describe('Sound', () => {
  it('is none without a stream, and where the source sends none', () => {
    open();
    expect(sound.state.get()).toBe('none');
    sound.setStream(STREAM);
    expect(sound.state.get()).toBe('muted');
    sound.sourceHas(false);
    expect(sound.state.get()).toBe('none');
    sound.sourceHas(true);
    sound.setStream(null);
    expect(sound.state.get()).toBe('none');
    expect(element.srcObject).toBeNull();
  });

  it('plays muted from the start, so that nothing piles up, and is heard from the tap on', async () => {
    open();
    sound.setStream(STREAM);
    expect(element).toMatchObject({ srcObject: STREAM, muted: true, plays: 1 });
    sound.turn(true);
    await settled();
    expect(element.muted).toBe(false);
    expect(sound.state.get()).toBe('playing');
  });

  it('remembers what was wanted, and how loud', async () => {
    open();
    sound.setStream(STREAM);
    sound.turn(true);
    sound.setVolume(0.3);
    element = new FakeElement();
    open();
    sound.setStream(STREAM);
    await settled();
    expect(sound.state.get()).toBe('playing');
    expect(element).toMatchObject({ muted: false, volume: 0.3 });
  });

  it('says so when the browser insists on a tap, plays on muted, and is heard after it', async () => {
    stored.sound = 'on';
    element.insists = true;
    open();
    sound.setStream(STREAM);
    await settled();
    expect(sound.state.get()).toBe('blocked');
    expect(element).toMatchObject({ muted: true, plays: 2 });
    element.insists = false;
    sound.turn(true);
    await settled();
    expect(sound.state.get()).toBe('playing');
    expect(element.muted).toBe(false);
  });

  it('does not take another failure for a refusal', async () => {
    stored.sound = 'on';
    open();
    element.play = async () => {
      throw new DOMException('replaced', 'AbortError');
    };
    sound.setStream(STREAM);
    await settled();
    expect(sound.state.get()).toBe('playing');
  });

  it('goes on with the sound of the next session', async () => {
    stored.sound = 'on';
    open();
    sound.setStream(STREAM);
    const next = { id: 'next', active: true } as MediaStream;
    sound.setStream(next);
    await settled();
    expect(element).toMatchObject({ srcObject: next, muted: false });
    expect(sound.state.get()).toBe('playing');
  });

  it('is not heard again by itself after the system has stopped it, but after a tap', async () => {
    stored.sound = 'on';
    open();
    sound.setStream(STREAM);
    await settled();
    element.pause();
    await settled();
    expect(sound.state.get()).toBe('blocked');
    expect(element).toMatchObject({ muted: true, paused: false });
    sound.setStream({ id: 'next', active: true } as MediaStream);
    sound.wake();
    expect(element.muted).toBe(true);
    sound.turn(true);
    expect(sound.state.get()).toBe('playing');
    expect(element.muted).toBe(false);
  });

  it('is not heard by itself when the page wakes to sound that was stopped', async () => {
    stored.sound = 'on';
    open();
    sound.setStream(STREAM);
    await settled();
    element.paused = true;
    sound.wake();
    expect(sound.state.get()).toBe('blocked');
    expect(element.muted).toBe(true);
  });

  it('leaves a stream alone that has ended, or was stopped before it was replaced', async () => {
    stored.sound = 'on';
    open();
    const ending = { id: 'ending', active: true };
    sound.setStream(ending as MediaStream);
    await settled();
    ending.active = false;
    element.pause();
    await settled();
    expect(element.plays).toBe(1);
    sound.setStream(STREAM);
    await settled();
    expect(sound.state.get()).toBe('playing');
  });

  it('counts as muted at no volume', async () => {
    stored.sound = 'on';
    open();
    sound.setStream(STREAM);
    sound.setVolume(0);
    expect(sound.state.get()).toBe('muted');
    expect(element.muted).toBe(true);
    sound.setVolume(0.2);
    expect(sound.state.get()).toBe('playing');
    expect(element).toMatchObject({ muted: false, volume: 0.2 });
  });

  it('knows where the volume is not its own to set', () => {
    open();
    expect(sound.hasVolume.get()).toBe(true);
    element = stubborn();
    open();
    expect(sound.hasVolume.get()).toBe(false);
  });

  it('is heard after a tap, also when the volume was nothing', () => {
    stored.volume = '0';
    open();
    sound.setStream(STREAM);
    sound.turn(true);
    expect(element.volume).toBe(0.5);
  });

  it('takes no nonsense for a volume', () => {
    for (const nonsense of ['', 'x', '-1', '2', 'NaN']) {
      stored.volume = nonsense;
      open();
      expect(sound.volume.get(), nonsense).toBe(1);
    }
    stored.sound = 'constructor';
    open();
    expect(sound.wanted.get()).toBeNull();
  });

  it('leaves lip sync to the box until somebody says otherwise', () => {
    open();
    expect(sound.lipSync.get()).toBeNull();
    sound.setLipSync(false);
    open();
    expect(sound.lipSync.get()).toBe(false);
  });

  it('lets go of its element', () => {
    const leave = open();
    sound.setStream(STREAM);
    leave();
    expect(element.srcObject).toBeNull();
  });
});
