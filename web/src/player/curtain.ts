/**
 * Hides the pictures that only let the decoder catch up. Whoever joins is sent everything since the last key
 * frame at once, and would see it flash by: the box names the edge, the RTP timestamp at which the present begins, and
 * what is shown from there on has not waited for the decoder. Opens once for each session, and never closes again: a
 * picture that is live is never hidden. Pure.
 */
import { rtpDifference, TOLERANCE_TICKS } from '../delay/delay';

/** How long after the first picture an edge may be waited for. */
const UNNAMED_MS = 300;
/** How long it may take to get there once it is known. */
const UNREACHED_MS = 1000;
/** A picture that was here for longer before it is drawn is behind the present: the decoder still works off the burst. */
const FRESH_MS = 60;
/** How long after the edge a fresh picture may be waited for: where all are slow, that is the present. */
const STALE_MS = 250;
/** How long pictures may be decoded unseen: some browsers draw nothing, and tell nothing, of what is transparent. */
const UNDRAWN_MS = 1000;

export class Curtain {
  #edge: number | null = null;
  #newest: number | null = null;
  #fresh = true;
  #firstAt: number | null = null;
  #reachedAt: number | null = null;
  #decodedAt: number | null = null;
  #open = false;

  get isOpen(): boolean {
    return this.#open;
  }

  /** The box names the edge; true when the curtain is open. */
  edge(rtp: number, now: number): boolean {
    this.#edge = rtp;
    return this.#judge(now);
  }

  /**
   * A picture is drawn at `now` that was here for `waitedMs`; true when the curtain is open. Without a timestamp, and
   * where nobody would name an edge, it opens at once.
   */
  frame(rtp: number | undefined, now: number, edgesAreNamed: boolean, waitedMs = 0): boolean {
    this.#firstAt ??= now;
    this.#fresh = waitedMs <= FRESH_MS;
    if (rtp === undefined || (!edgesAreNamed && this.#edge === null)) this.#open = true;
    else this.#newest = rtp;
    return this.#judge(now);
  }

  /** Pictures were decoded lately, drawn or not; true when the curtain is open. */
  decoded(now: number): boolean {
    this.#decodedAt ??= now;
    if (now - this.#decodedAt > UNDRAWN_MS) this.#open = true;
    return this.#open;
  }

  /** How long, from `now`, it stays closed if nothing more comes; `null` before the first picture. */
  opensIn(now: number): number | null {
    if (this.#firstAt === null) return null;
    const unreached = this.#firstAt + (this.#edge === null ? UNNAMED_MS : UNREACHED_MS);
    const opensAt = this.#reachedAt === null ? unreached : Math.min(unreached, this.#reachedAt + STALE_MS);
    if (now >= opensAt) this.#open = true;
    return this.#open ? 0 : opensAt - now;
  }

  #judge(now: number): boolean {
    const [edge, newest] = [this.#edge, this.#newest];
    if (edge !== null && newest !== null && rtpDifference(newest, edge) >= -TOLERANCE_TICKS) {
      this.#reachedAt ??= now;
      if (this.#fresh || now - this.#reachedAt >= STALE_MS) this.#open = true;
    }
    return this.#open;
  }
}
