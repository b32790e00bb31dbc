/**
 * The link to the box: one WebSocket, kept up for ever. Owns when tally may be believed. It is believed only
 * while `state` is `live`: vMix was heard within the last two seconds, counting both how long ago that was for the
 * box and how long ago the box said so; the box's answers take no longer than that; and, since the page last woke,
 * it has answered a question asked after waking (a frozen page first gets what had piled up in the meantime).
 * Framework-free; it knows nothing of pictures.
 */
import { Backoff } from '../backoff';
import { Store } from '../store';
import { type HelloMessage, type MediaMessage, parseMessage, type Stream, type TallyMessage } from '../wire';
import { BoxClock } from './clock';

/**
 * `connecting`: the first attempt. `live`: tally can be believed. `silent`: connected, nothing newer than two seconds.
 * `waking`: the page slept, and nothing new is known yet. `down`: no connection, trying again.
 */
export type LinkState = 'connecting' | 'live' | 'silent' | 'waking' | 'down';

/** The part of a WebSocket that is used, so that tests can stand in for it. */
export interface Socket {
  onopen: ((event: never) => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: never) => void) | null;
  send(data: string): void;
  close(): void;
  readonly readyState: number;
}

export interface LinkEnvironment {
  open(url: string): Socket;
  /** Monotonic milliseconds, of the same clock as the frame callbacks'. */
  now(): number;
  /** Wall-clock milliseconds: the monotonic clock of some browsers stands still while the machine sleeps. */
  wall(): number;
  random(): number;
}

/** What is older than this is not shown: the page says NO TALLY by itself. */
export const SILENCE_MS = 2000;
/** A socket this long without any message is taken for dead, and replaced. */
const DEAD_MS = 4000;
/** How long a connection may take to open. */
const OPEN_MS = 3000;
/** How long the box may take to answer after a wake before a fresh socket is tried. */
const WAKE_MS = 1000;
const BEAT_MS = 250;
/** The beat coming this late means that the page did not run: asleep, frozen, or in a debugger. */
const MISSED_BEAT_MS = 1500;
const PING_FAST_MS = 150;
const PING_SLOW_MS = 1000;
const FAST_PINGS = 6;
/** A hello whose clock is this far behind what was expected comes from a box that was restarted. */
const RESTART_MS = 1000;

export class Link {
  readonly state = new Store<LinkState>('connecting');
  /** The newest tally received. Believe it only while `state` is `live`. */
  readonly tally = new Store<TallyMessage | null>(null);
  readonly hello = new Store<HelloMessage | null>(null);
  readonly streams = new Store<Stream[] | null>(null);
  readonly clock = new BoxClock();
  /** Called for each message about the arrival of frames. */
  onMedia: (message: MediaMessage) => void = () => {};
  /** Called when the box names the edge of a session. */
  onEdge: (session: string, rtp: number) => void = () => {};
  /** Called when the box turns out to have been restarted: none of its sessions lives on. */
  onBoxRestart: () => void = () => {};

  readonly #url: string;
  readonly #env: LinkEnvironment;
  readonly #backoff: Backoff;
  #socket: Socket | null = null;
  #running = false;
  #openedAt = 0;
  #lastMessageAt = 0;
  #lastTallyAt = Number.NEGATIVE_INFINITY;
  #lastTallyWall = Number.NEGATIVE_INFINITY;
  /** How old the last tally was when the box sent it; a box that knows nothing claims nothing. */
  #lastTallyAge = 0;
  #lastBeatAt = 0;
  #lastBeatWall = 0;
  #lastPingAt = 0;
  #pings = 0;
  #wakeId: number | null = null;
  #wokeAt = 0;
  #watched: object | null = null;
  #lastBox: { box: number; page: number } | null = null;
  #beat: ReturnType<typeof setInterval> | undefined;
  #silence: ReturnType<typeof setTimeout> | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;

  constructor(url: string, env: LinkEnvironment) {
    this.#url = url;
    this.#env = env;
    this.#backoff = new Backoff(250, 2000, env.random);
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#noteBeat();
    this.#beat = setInterval(() => this.#onBeat(), BEAT_MS);
    this.#connect();
  }

  stop(): void {
    this.#running = false;
    clearInterval(this.#beat);
    clearTimeout(this.#silence);
    clearTimeout(this.#retry);
    this.#drop();
    this.state.set('down');
  }

  /** Asks for the arrival times of one stream's frames, and for the edge of the session that plays it once it has a name. */
  watch(stream: string, session: string | null): void {
    this.#watched = session === null ? { type: 'watch', stream } : { type: 'watch', stream, session };
    this.#send(this.#watched);
  }

  /** Tells the box how late the watched picture is, in milliseconds. */
  reportDelay(ms: number): void {
    this.#send({ type: 'delay', ms: Math.min(60_000, Math.round(ms)) });
  }

  /** Whether the box can be spoken with now. */
  isOpen(): boolean {
    return this.#socket?.readyState === 1;
  }

  /** The page woke up or the network came back: what was known is not believed until the box speaks anew. */
  wake(): void {
    if (!this.#running) return;
    const open = this.#socket?.readyState ?? 3;
    if (open > 1) {
      // Closed while nobody looked; the event that says so may still be on its way.
      if (this.#socket) this.#lost();
      this.retryNow();
    }
    if (open !== 1) return;
    this.#wokeAt = this.#env.now();
    this.#wakeId = this.#ping();
    this.state.set('waking');
  }

  /** Does not wait for the back-off to run out: something just changed for the better. */
  retryNow(): void {
    if (!this.#running || this.#socket) return;
    clearTimeout(this.#retry);
    this.#backoff.reset();
    this.#connect();
  }

  #connect(): void {
    this.#wakeId = null;
    this.#lastTallyAt = Number.NEGATIVE_INFINITY;
    this.#lastTallyWall = Number.NEGATIVE_INFINITY;
    this.clock.reset();
    this.#openedAt = this.#env.now();
    this.#lastMessageAt = this.#openedAt;
    let socket: Socket;
    try {
      socket = this.#env.open(this.#url);
    } catch {
      this.#lost();
      return;
    }
    this.#socket = socket;
    socket.onopen = () => {
      if (socket !== this.#socket) return;
      this.#lastMessageAt = this.#env.now();
      this.#pings = 0;
      if (this.#watched !== null) this.#send(this.#watched);
      this.#ping();
    };
    socket.onmessage = (event) => {
      if (socket === this.#socket) this.#receive(event.data);
    };
    socket.onclose = () => {
      if (socket === this.#socket) this.#lost();
    };
  }

  #drop(): void {
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = null;
    socket.onmessage = null;
    socket.onclose = null;
    socket.close();
  }

  #lost(): void {
    this.#drop();
    this.state.set('down');
    clearTimeout(this.#silence);
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#connect(), this.#backoff.next());
  }

  #receive(data: unknown): void {
    const message = parseMessage(data);
    if (!message) return;
    const now = this.#env.now();
    this.#lastMessageAt = now;
    switch (message.type) {
      case 'tally':
        this.#backoff.reset();
        this.#lastTallyAt = now;
        this.#lastTallyWall = this.#env.wall();
        clearTimeout(this.#silence);
        this.#lastTallyAge = message.source === 'live' ? Math.max(0, message.age_ms) : 0;
        this.#silence = setTimeout(() => this.#judge(), Math.max(0, SILENCE_MS - this.#lastTallyAge) + 1);
        this.tally.set(message);
        break;
      case 'hello':
        this.#noteBox(message.now_ms);
        this.hello.set(message);
        this.streams.set(message.streams);
        break;
      case 'streams':
        this.streams.set(message.streams);
        break;
      case 'clock':
        this.clock.answer(message.id, message.received_ms, now);
        if (message.id === this.#wakeId) this.#wakeId = null;
        break;
      case 'media':
        this.onMedia(message);
        break;
      case 'edge':
        this.onEdge(message.session, message.rtp);
        break;
    }
    this.#judge();
  }

  #noteBox(boxMs: number): void {
    const page = this.#env.now();
    const last = this.#lastBox;
    this.#lastBox = { box: boxMs, page };
    // A restarted box counts from zero again. At least as much time has passed there as the page has counted, so a
    // clock behind that says so; one ahead only says that this device slept.
    if (last && boxMs + RESTART_MS < last.box + (page - last.page)) this.onBoxRestart();
  }

  #judge(): void {
    if (!this.#socket) return;
    const now = this.#env.now();
    const since = Math.max(now - this.#lastTallyAt, this.#env.wall() - this.#lastTallyWall);
    const age = Math.max(since + this.#lastTallyAge, this.clock.lateness(now));
    if (this.#wakeId !== null) this.state.set('waking');
    else if (age <= SILENCE_MS) this.state.set('live');
    else if (this.#lastTallyAt > Number.NEGATIVE_INFINITY) this.state.set('silent');
  }

  #noteBeat(): void {
    this.#lastBeatAt = this.#env.now();
    this.#lastBeatWall = this.#env.wall();
  }

  #onBeat(): void {
    const now = this.#env.now();
    const gap = Math.max(now - this.#lastBeatAt, this.#env.wall() - this.#lastBeatWall);
    this.#noteBeat();
    if (!this.#socket) return;
    if (gap > MISSED_BEAT_MS) {
      this.#lastMessageAt = now;
      this.wake();
      return;
    }
    this.#judge();
    const open = this.#socket.readyState === 1;
    const overdue =
      (!open && now - this.#openedAt > OPEN_MS) ||
      (open && now - this.#lastMessageAt > DEAD_MS) ||
      (open && this.#wakeId !== null && now - this.#wokeAt > WAKE_MS);
    if (overdue) {
      const waking = this.#wakeId !== null;
      this.#lost();
      if (waking) this.retryNow();
      return;
    }
    if (open && now - this.#lastPingAt >= (this.#pings < FAST_PINGS ? PING_FAST_MS : PING_SLOW_MS))
      this.#ping();
  }

  #ping(): number {
    this.#lastPingAt = this.#env.now();
    this.#pings += 1;
    const id = this.clock.ping(this.#lastPingAt);
    this.#send({ type: 'ping', id });
    return id;
  }

  #send(message: object): void {
    if (this.isOpen()) this.#socket?.send(JSON.stringify(message));
  }
}

/** The browser's own. */
export const browserLink: LinkEnvironment = {
  open: (url) => new WebSocket(url) as unknown as Socket,
  now: () => performance.now(),
  wall: () => Date.now(),
  random: () => Math.random(),
};
