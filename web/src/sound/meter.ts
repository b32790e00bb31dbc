/**
 * How loud each channel is. Listens beside the element that plays: nothing of what is heard goes through here, and
 * a meter that cannot work costs only the meter.
 */

/** The part of an `AudioContext` that is used. */
export type Context = Pick<
  AudioContext,
  'state' | 'resume' | 'suspend' | 'createMediaStreamSource' | 'createChannelSplitter' | 'createAnalyser'
>;

/** The bottom of the scale, in dBFS. */
export const FLOOR_DB = -60;
/** Longer than a screen's refresh takes, so that no peak is missed. */
const SAMPLES = 2048;

/** Linear level to dBFS, at least the bottom of the scale. */
export const toDb = (level: number): number => Math.max(FLOOR_DB, 20 * Math.log10(Math.max(level, 1e-6)));

/** What a bar shows after `elapsedMs`: up at once, down as slowly as an eye can follow. */
export function fall(shownDb: number, nowDb: number, elapsedMs: number): number {
  return Math.max(nowDb, shownDb - elapsedMs * 0.03, FLOOR_DB);
}

interface Channel {
  getFloatTimeDomainData(samples: Float32Array<ArrayBuffer>): void;
}

export class LevelMeter {
  readonly #newContext: () => Context;
  readonly #samples = new Float32Array(SAMPLES);
  #context: Context | null = null;
  #stream: MediaStream | null = null;
  #source: { disconnect(): void } | null = null;
  #channels: Channel[] = [];

  constructor(newContext: () => Context) {
    this.#newContext = newContext;
  }

  /** Listens to that stream; to none with `null`. */
  listen(stream: MediaStream | null): void {
    try {
      if (stream) {
        this.#context ??= this.#newContext();
        // Allowed after a touch only; before it, there is nothing to hear either.
        this.#context.resume().catch(() => {});
      } else {
        // One that runs keeps the device's sound awake, and its battery busy.
        this.#context?.suspend().catch(() => {});
      }
      if (stream === this.#stream) return;
      this.#source?.disconnect();
      this.#source = null;
      this.#channels = [];
      this.#stream = stream;
      if (stream && this.#context) this.#connect(this.#context, stream);
    } catch {
      // No meter, then.
      this.#channels = [];
    }
  }

  #connect(context: Context, stream: MediaStream): void {
    const source = context.createMediaStreamSource(stream);
    const splitter = context.createChannelSplitter(2);
    source.connect(splitter);
    this.#source = source;
    this.#channels = [0, 1].map((channel) => {
      const analyser = context.createAnalyser();
      analyser.fftSize = SAMPLES;
      splitter.connect(analyser, channel);
      return analyser;
    });
  }

  /** Peaks of left and right of the last moment, in dBFS; `null` while it cannot listen. */
  read(): [number, number] | null {
    const [left, right] = this.#channels;
    if (!left || !right || this.#context?.state !== 'running') return null;
    return [this.#peak(left), this.#peak(right)];
  }

  #peak(channel: Channel): number {
    channel.getFloatTimeDomainData(this.#samples);
    let peak = 0;
    for (const sample of this.#samples) peak = Math.max(peak, Math.abs(sample));
    return toDb(peak);
  }
}

/** The browser's own. */
export const newContext = (): Context => new AudioContext();
