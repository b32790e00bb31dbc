/**
 * Whether this page may watch, and the PIN that lets it. Owns the questions to the box; what is shown for them is the
 * view's. The page itself needs no leave, so it can always ask.
 */
import type { LinkState } from '../link/link';
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
  /** Whether something on the way, a proxy most likely, keeps the page from asking. False until that is known. */
  readonly barred = new Store(false);
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

  /**
   * Asks when the link is down, and again while it stays so. The box says nothing to a socket that it does not let in,
   * nor why it ended one; and one that was just started again may not have answered before. Otherwise there is nothing
   * to ask: a proxy may forward no more than the page and its socket.
   */
  follow(link: Store<LinkState>): void {
    const ask = () => {
      if (link.get() === 'down') void this.check();
    };
    link.subscribe(ask);
    setInterval(ask, LOOK_AGAIN_MS);
  }

  /** Asks the box. What gives no answer is taken for open: a proxy may not forward this, and the picture will tell. */
  async check(): Promise<void> {
    const now = this.#env.now();
    if (now - this.#askedAt < LEAST_MS) return;
    this.#askedAt = now;
    let answer: Response;
    try {
      answer = await this.#env.fetch(this.#url, { cache: 'no-store' });
    } catch {
      return;
    }
    // A page of the proxy's own is no answer either.
    const session = answer.ok ? await answer.json().catch(() => null) : null;
    const role: unknown = session?.role;
    this.barred.set(role === undefined);
    if (role === 'anyone') {
      this.#close({ pin: session.pin === true, ended: this.#ended });
    } else if (role !== undefined && this.closed.get() !== null) {
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
