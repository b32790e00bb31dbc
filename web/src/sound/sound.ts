/**
 * The sound of what is watched: an element of its own, so that the picture never waits for it. Owns whether sound is
 * wanted, how loud, and whether the browser allows it: browsers play none before the page was touched, after each
 * reload anew. Framework-free; what is wanted is remembered.
 *
 * The element plays from the start, muted: a browser that plays nothing out lets seconds of sound pile up, and is as
 * late when the tap comes.
 */
import type { Memory } from '../address';
import { Store } from '../store';
import { type Context, LevelMeter } from './meter';

/**
 * `none`: the stream has no sound. `muted`: not wanted, or at no volume. `blocked`: wanted, but it needs a tap: the
 * browser insists on one, or the system has stopped it.
 */
export type SoundState = 'none' | 'muted' | 'blocked' | 'playing';

/** The part of an audio element that is used, so that tests can stand in for it. */
export interface SoundElement {
  srcObject: MediaProvider | null;
  readonly paused: boolean;
  muted: boolean;
  volume: number;
  play(): Promise<void>;
  addEventListener(type: 'pause', tell: () => void): void;
  removeEventListener(type: 'pause', tell: () => void): void;
}

export class Sound {
  readonly state = new Store<SoundState>('none');
  /** What the user said last; `null` while nobody has said anything on this device. */
  readonly wanted: Store<boolean | null>;
  /** 0 to 1. */
  readonly volume: Store<number>;
  /** Whether the volume can be set here: iOS leaves it to the buttons of the phone. */
  readonly hasVolume = new Store(true);
  /** Whether the picture shall wait for its sound; `null` leaves it to the box. */
  readonly lipSync: Store<boolean | null>;
  readonly meter: LevelMeter;

  readonly #memory: Memory;
  #element: SoundElement | null = null;
  #stream: MediaStream | null = null;
  #sourceHas = true;
  #blocked = false;

  constructor(memory: Memory, newContext: () => Context) {
    this.#memory = memory;
    this.meter = new LevelMeter(newContext);
    const yesOrNo = (key: string) => {
      const said = memory.get(key);
      return said === 'on' || said === 'off' ? said === 'on' : null;
    };
    this.wanted = new Store(yesOrNo('sound'));
    this.lipSync = new Store(yesOrNo('lip_sync'));
    const volume = Number.parseFloat(memory.get('volume') ?? '1');
    this.volume = new Store(volume >= 0 && volume <= 1 ? volume : 1);
  }

  /** Where it is played; returns how to let go of it again. */
  attach(element: SoundElement): () => void {
    this.#element = element;
    element.volume = 0.5;
    this.hasVolume.set(element.volume === 0.5);
    const onPause = () => this.#onPause();
    element.addEventListener('pause', onPause);
    this.#apply();
    return () => {
      element.removeEventListener('pause', onPause);
      element.srcObject = null;
      this.#element = null;
    };
  }

  /** The sound of the session; `null` while it carries none. */
  setStream(stream: MediaStream | null): void {
    if (stream === this.#stream) return;
    this.#stream = stream;
    this.#apply();
  }

  /** Whether the source sends sound at all, as the box says. */
  sourceHas(sound: boolean): void {
    this.#sourceHas = sound;
    this.#judge();
  }

  /** On or off; to be called while a touch or a key is handled, which is what browsers insist on. */
  turn(on: boolean): void {
    this.#memory.set('sound', on ? 'on' : 'off');
    this.#blocked = false;
    this.wanted.set(on);
    // A volume of nothing would make a tap look dead.
    if (on && this.volume.get() === 0) this.setVolume(0.5);
    this.#apply();
  }

  setVolume(volume: number): void {
    this.#memory.set('volume', String(volume));
    this.volume.set(volume);
    this.#apply();
  }

  /** The page woke: the system may have stopped what is not heard, and the meter. */
  wake(): void {
    if (this.#element?.paused) this.#onPause();
    else this.#apply();
  }

  setLipSync(on: boolean): void {
    this.#memory.set('lip_sync', on ? 'on' : 'off');
    this.lipSync.set(on);
  }

  /** Whether it shall be heard, as far as the user is concerned. */
  #isOn(): boolean {
    return this.wanted.get() === true && this.volume.get() > 0;
  }

  #apply(): void {
    const [element, stream] = [this.#element, this.#stream];
    if (!element) return;
    element.volume = this.volume.get();
    element.muted = !this.#isOn() || this.#blocked;
    // Given anew only when it is another: that would be heard.
    if (element.srcObject !== stream) element.srcObject = stream;
    this.meter.listen(element.muted ? null : stream);
    this.#play();
    this.#judge();
  }

  #play(): void {
    const element = this.#element;
    if (!element || !this.#stream?.active) return;
    const wasMuted = element.muted;
    element.play().catch((error: unknown) => {
      const refused = error instanceof DOMException && error.name === 'NotAllowedError';
      if (!refused || wasMuted || element !== this.#element) return;
      this.#blocked = true;
      this.#apply();
    });
  }

  /** The system stopped it: a call, headphones pulled out, a key. Only a tap makes it heard again. */
  #onPause(): void {
    const element = this.#element;
    // What has ended, or was replaced meanwhile, was not stopped.
    if (!element?.paused || !this.#stream?.active) return;
    if (!element.muted) this.#blocked = true;
    this.#apply();
  }

  #judge(): void {
    if (this.#stream === null || !this.#sourceHas) this.state.set('none');
    else if (!this.#isOn()) this.state.set('muted');
    else this.state.set(this.#blocked ? 'blocked' : 'playing');
  }
}
