/**
 * The box's clock as seen from the page. Each ping brackets one reading of the box's clock between two of ours;
 * of the recent ones the answer with the shortest round trip is believed, since what a queue adds on one way
 * only would otherwise pass for an offset. Pure: times come in as arguments, in milliseconds.
 */

interface Sample {
  at: number;
  rtt: number;
  offset: number;
}

/** Long enough to outlast a busy moment, short enough that the clocks' drift (some 50 ppm) stays under 2 ms. */
const WINDOW_MS = 30_000;
const MAX_PENDING = 16;

export class BoxClock {
  #samples: Sample[] = [];
  readonly #pending = new Map<number, number>();
  #nextId = 1;
  #lastRtt = 0;

  /** Notes a ping sent at `now` and returns the id it must carry. */
  ping(now: number): number {
    const id = this.#nextId++;
    this.#pending.set(id, now);
    for (const oldest of this.#pending.keys()) {
      if (this.#pending.size <= MAX_PENDING) break;
      this.#pending.delete(oldest);
    }
    return id;
  }

  /** Takes the box's answer, which arrived at `now`; false when it answers no ping of ours. */
  answer(id: number, receivedMs: number, now: number): boolean {
    const sent = this.#pending.get(id);
    if (sent === undefined || now < sent) return false;
    this.#pending.delete(id);
    const rtt = now - sent;
    this.#lastRtt = rtt;
    this.#samples = this.#samples.filter((sample) => now - sample.at <= WINDOW_MS);
    this.#samples.push({ at: now, rtt, offset: receivedMs - (sent + rtt / 2) });
    return true;
  }

  /** Forgets everything: the box may have been restarted, and its clock with it. */
  reset(): void {
    this.#samples = [];
    this.#pending.clear();
    this.#lastRtt = 0;
  }

  /** How long the box takes to answer at `now`: its last round trip, or the wait of the oldest open question. */
  lateness(now: number): number {
    let lateness = this.#lastRtt;
    for (const sent of this.#pending.values()) lateness = Math.max(lateness, now - sent);
    return lateness;
  }

  #best(): Sample | undefined {
    let best: Sample | undefined;
    for (const sample of this.#samples) {
      if (!best || sample.rtt <= best.rtt) best = sample;
    }
    return best;
  }

  /** The box's time at the page's time `pageMs`, or `null` while no ping has been answered. */
  toBox(pageMs: number): number | null {
    const best = this.#best();
    return best ? pageMs + best.offset : null;
  }

  /** The most the conversion can be wrong by, in milliseconds (half the best round trip). */
  uncertaintyMs(): number | null {
    const best = this.#best();
    return best ? best.rtt / 2 : null;
  }
}
