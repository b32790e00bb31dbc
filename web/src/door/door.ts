/**
 * Whether this page may watch, and the PIN that lets it. Owns the questions to the box; what is shown for them is the
 * view's. The page itself needs no leave, so it can always ask.
 */
import { Store } from '../store';

export interface Closed {
  /** Whether a PIN would open. */
  pin: boolean;
  /** Whether the link that was opened has ended. */
  ended: boolean;
}

/** What came of the last PIN: another one, or no more until `until` (monotonic milliseconds), or no answer. */
export type Trouble = { kind: 'wrong' | 'failed' } | { kind: 'locked'; until: number };

export interface DoorEnvironment {
  fetch(url: string, init?: RequestInit): Promise<Response>;
  /** Monotonic milliseconds. */
  now(): number;
  /** Begins the page anew, with what was just given to it. */
  reload(): void;
}

/** While it is closed, the box may be set otherwise, or a link be opened in another tab. */
const LOOK_AGAIN_MS = 5000;
/** Not more often than this, whatever falls. */
const LEAST_MS = 1000;

export class Door {
  readonly closed = new Store<Closed | null>(null);
  readonly trouble = new Store<Trouble | null>(null);
  readonly #url: string;
  readonly #env: DoorEnvironment;
  readonly #ended: boolean;
  #askedAt = Number.NEGATIVE_INFINITY;
  #again: ReturnType<typeof setInterval> | undefined;

  constructor(root: string, hash: string, env: DoorEnvironment) {
    this.#url = new URL('api/v1/session', root).href;
    this.#ended = hash === '#link-ended';
    this.#env = env;
  }

  /** Asks the box. What gives no answer is taken for open: a proxy may not forward this, and the picture will tell. */
  async check(): Promise<void> {
    const now = this.#env.now();
    if (now - this.#askedAt < LEAST_MS) return;
    this.#askedAt = now;
    let session: { role?: unknown; pin?: unknown };
    try {
      const answer = await this.#env.fetch(this.#url, { cache: 'no-store' });
      if (!answer.ok) return;
      session = await answer.json();
    } catch {
      return;
    }
    if (session.role === 'anyone') {
      this.#close({ pin: session.pin === true, ended: this.#ended });
    } else if (this.closed.get() !== null) {
      this.#env.reload();
    }
  }

  async enter(pin: string): Promise<void> {
    const body = JSON.stringify({ pin });
    const headers = { 'Content-Type': 'application/json' };
    try {
      const answer = await this.#env.fetch(this.#url, { method: 'POST', headers, body });
      if (answer.ok) return this.#env.reload();
      const wait = Number(answer.headers.get('Retry-After')) * 1000;
      if (answer.status === 429) this.trouble.set({ kind: 'locked', until: this.#env.now() + wait });
      else this.trouble.set({ kind: answer.status === 401 ? 'wrong' : 'failed' });
    } catch {
      this.trouble.set({ kind: 'failed' });
    }
  }

  #close(closed: Closed): void {
    const before = this.closed.get();
    if (before?.pin !== closed.pin) this.closed.set(closed);
    this.#again ??= setInterval(() => void this.check(), LOOK_AGAIN_MS);
  }
}
