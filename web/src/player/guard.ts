/**
 * Notices a delay that has grown and stays: then the page has to drop to live. What a viewer's own network and screen
 * cost is its steady state, learned anew with each session, so only growth counts. Drops are spaced out ever further
 * while they do not help, so that a bad link does not flap. Pure: times come in as arguments, in milliseconds.
 */

/** `nudge`: remind the browser to hold nothing. `rejoin`: begin with a fresh session. */
export type Drop = 'none' | 'nudge' | 'rejoin';

/** So much more than the best is no steady state any more. */
const GROWTH_MS = 150;
/** Where the picture waits for its sound, it comes and goes with that. */
const GROWTH_IN_SYNC_MS = 450;
const LASTING_MS = 2000;
const FIRST_PAUSE_MS = 10_000;
const LONGEST_PAUSE_MS = 300_000;
/** After so long without growth a drop has helped. */
const CALM_MS = 60_000;

export class DelayGuard {
  /** The best of each meter: figures of two meters are not compared. */
  readonly #best = new Map<string, number>();
  #grownSince: number | null = null;
  #nudged = false;
  #notBefore = Number.NEGATIVE_INFINITY;
  #pause = FIRST_PAUSE_MS;
  #grownAt = Number.NEGATIVE_INFINITY;

  /** Whether the delay has grown and stays. */
  get isBehind(): boolean {
    return this.#nudged;
  }

  /** Another session: its steady state is its own. */
  fresh(): void {
    this.#best.clear();
    this.#grownSince = null;
    this.#nudged = false;
  }

  /** Takes one reading; `null` where nothing can be measured, as on a hidden page. */
  read(now: number, delayMs: number | null, meter: string, inSync: boolean): Drop {
    if (delayMs === null) {
      this.#grownSince = null;
      return 'none';
    }
    const best = Math.min(delayMs, this.#best.get(meter) ?? delayMs);
    this.#best.set(meter, best);
    if (delayMs <= best + (inSync ? GROWTH_IN_SYNC_MS : GROWTH_MS)) {
      this.#grownSince = null;
      this.#nudged = false;
      if (now - this.#grownAt > CALM_MS) this.#pause = FIRST_PAUSE_MS;
      return 'none';
    }
    this.#grownAt = now;
    this.#grownSince ??= now;
    if (now - this.#grownSince <= LASTING_MS) return 'none';
    if (!this.#nudged) {
      this.#nudged = true;
      this.#grownSince = now;
      return 'nudge';
    }
    if (now < this.#notBefore) return 'none';
    this.#notBefore = now + this.#pause;
    this.#pause = Math.min(LONGEST_PAUSE_MS, this.#pause * 2);
    this.fresh();
    return 'rejoin';
  }
}
