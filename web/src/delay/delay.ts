/**
 * How late the picture is: from the arrival of a frame's last byte at the box to its presentation here. Both ends
 * are measured; they meet by the frame's RTP timestamp. A frame is usually shown before the box's message about
 * it comes, so either half may be first. Pure: times come in as arguments, in milliseconds.
 */

/** RTP timestamps are 32 bits and wrap every 13 hours: the shortest way round from `b` to `a`, in ticks. */
export function rtpDifference(a: number, b: number): number {
  return (a - b) | 0;
}

/** Some browsers hand the timestamp back rounded to a millisecond. */
export const TOLERANCE_TICKS = 90;
const REMEMBERED = 128;
const WINDOW_MS = 1500;
/** Outside of this a figure is no delay but a mismatch. */
const PLAUSIBLE_MS: readonly [number, number] = [-100, 30_000];

interface Half {
  rtp: number;
  at: number;
}

function find(halves: Half[], rtp: number): Half | undefined {
  for (let i = halves.length - 1; i >= 0; i -= 1) {
    const half = halves[i];
    if (half && Math.abs(rtpDifference(half.rtp, rtp)) <= TOLERANCE_TICKS) return half;
  }
  return undefined;
}

function remember(halves: Half[], half: Half): void {
  halves.push(half);
  if (halves.length > REMEMBERED) halves.shift();
}

export class DelayMeter {
  #arrived: Half[] = [];
  #presented: Half[] = [];
  #measured: { at: number; delay: number }[] = [];
  readonly #toBox: (pageMs: number) => number | null;

  /** `toBox` converts the page's time to the box's; `null` while that is not known. */
  constructor(toBox: (pageMs: number) => number | null) {
    this.#toBox = toBox;
  }

  /** The box says when the frame with this timestamp had arrived (box clock). */
  arrived(rtp: number, boxMs: number): void {
    if (find(this.#arrived, rtp)) return;
    remember(this.#arrived, { rtp, at: boxMs });
    const presented = find(this.#presented, rtp);
    if (presented) this.#measure(boxMs, presented.at);
  }

  /** The browser says that the frame with this timestamp is on the screen at `pageMs`. */
  presented(rtp: number, pageMs: number): void {
    if (find(this.#presented, rtp)) return;
    remember(this.#presented, { rtp, at: pageMs });
    const arrived = find(this.#arrived, rtp);
    if (arrived) this.#measure(arrived.at, pageMs);
  }

  #measure(boxMs: number, pageMs: number): void {
    const shown = this.#toBox(pageMs);
    if (shown === null) return;
    const delay = shown - boxMs;
    if (delay < PLAUSIBLE_MS[0] || delay > PLAUSIBLE_MS[1]) return;
    this.#measured.push({ at: pageMs, delay });
    if (this.#measured.length > REMEMBERED) this.#measured.shift();
  }

  /** The median of the last moments, never below zero; `null` when nothing was measured in them. */
  delayMs(nowPageMs: number): number | null {
    this.#measured = this.#measured.filter(({ at }) => nowPageMs - at <= WINDOW_MS);
    const sorted = this.#measured.map(({ delay }) => delay).sort((a, b) => a - b);
    const middle = sorted[sorted.length >> 1];
    return middle === undefined ? null : Math.max(0, middle);
  }

  /** Another stream or session: its timestamps say nothing about the last one's. */
  reset(): void {
    this.#arrived = [];
    this.#presented = [];
    this.#measured = [];
  }
}
