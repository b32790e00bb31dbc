/**
 * The player: one stream's picture and sound, kept up for ever. Owns the WHEP session, the peer connection and every reason
 * to keep or to replace them. Framework-free: a view gives it a place to show `media` and tells it of frames.
 *
 * A pause is no reason to leave: the box keeps the session while its source restarts, and the picture comes back in
 * the same session within a frame of the new source's first IDR. The session is replaced when ICE has failed or has been
 * disconnected for long, when the box was restarted or has forgotten the session, when a decoder hangs, and when
 * nothing comes although the box says that the stream runs.
 */
import { Backoff } from '../backoff';
import { Store } from '../store';
import { Curtain } from './curtain';
import { DelayGuard } from './guard';
import { DecoderWatch, heldMs, type Reading, readStats } from './health';
import { relay } from './relays';
import { amend, isInSync } from './sdp';
import { type Fetch, isGone, leave, offer, WhepRefusal } from './whep';

/**
 * `idle`: not started. `joining`: session being set up, or waiting for its first picture. `playing`: pictures come.
 * `paused`: the session stands and no picture comes. `waiting`: the box has no such stream at present, asked again as
 * it wishes. `refused`: the box will not send it (`reason` says why). `lost`: no connection, trying again.
 */
export type PlayerState = 'idle' | 'joining' | 'playing' | 'paused' | 'waiting' | 'refused' | 'lost';

export interface PlayerStatus {
  state: PlayerState;
  /** The box's code for a refusal, e.g. `b_frames`. */
  reason: string | null;
  /** The box's own words for it. */
  detail: string | null;
}

export interface PlayerEnvironment {
  fetch: Fetch;
  createPeer(): RTCPeerConnection;
  createStream(tracks: MediaStreamTrack[]): MediaStream;
  /** Monotonic milliseconds. */
  now(): number;
  random(): number;
  hidden(): boolean;
  /** Whether `frame` will be called for each frame; where not, the decoder's count has to do. */
  readonly frameCallbacks: boolean;
}

/** What others know and the player goes by. */
export interface Outlook {
  /** How late the picture is, in milliseconds; `null` while that cannot be measured. */
  delayMs(): number | null;
  /** Whether the box could name the edge of a session now. */
  namesEdges(): boolean;
  /** Whether the picture shall wait for its sound; `null` leaves it to the box. */
  lipSync(): boolean | null;
}

const NO_OUTLOOK: Outlook = { delayMs: () => null, namesEdges: () => false, lipSync: () => null };

/** How long setting up may take, POST to connected. */
const JOIN_MS = 8000;
/** ICE's `disconnected` often mends itself: consent checks are lost before the connection is. */
const DISCONNECTED_MS = 3000;
const POLL_MS = 500;
/** This long without a picture, and the picture on the screen is called still. */
const STILL_MS = 700;
/** This long decoding pictures of which a page in sight shows none, and it is the renderer that hangs. */
const UNSEEN_MS = 5000;
/** This long without a packet of a stream that the box says is running, and the session is replaced. */
const SILENT_MS = 6000;
const WAITING_MS = 2000;
const REFUSED_MS = 5000;
const MAX_PATIENCE = 8;
/** What was done about a late picture has helped after this long, or it has not. */
const CATCHING_UP_MS = 4000;
/** A picture that came for this long has earned full impatience again. */
const STEADY_MS = 30_000;

interface Session {
  peer: RTCPeerConnection;
  /** The session's URL, once the box has answered. */
  url: string | null;
  watch: DecoderWatch;
  connected: boolean;
  curtain: Curtain;
  picture: RTCRtpReceiver;
  tracks: MediaStreamTrack[];
  /** The port that the box wants to be reached at, once it has answered. */
  port: string | null;
  /** Whether its media were given to the renderer anew. */
  renewed: boolean;
}

/** Where the box takes media from, unless its answer says otherwise. */
const MEDIA_PORT = '8189';

export class Player {
  readonly status = new Store<PlayerStatus>({ state: 'idle', reason: null, detail: null });
  /** What to show; the last one stays until there is a newer one, so that no gap is black. */
  readonly media = new Store<MediaStream | null>(null);
  /** Whether a frame of `media` has been on the screen: unless pictures come, what is seen there is old. */
  readonly seen = new Store(false);
  /** The media port that nothing came through although the box had answered; `null` while there is no such doubt. */
  readonly blockedPort = new Store<string | null>(null);
  /** Set by the view while the browser plays nothing before a tap. */
  waitsForTap = false;
  readonly reading = new Store<Reading | null>(null);
  /** The session's sound, apart from its picture; `null` while it carries none. */
  readonly sound = new Store<MediaStream | null>(null);
  /** Whether the picture waits for its sound. */
  readonly inSync = new Store(false);
  /** The name of the session, as the box knows it. */
  readonly sessionName = new Store<string | null>(null);
  /** Whether the picture has fallen behind, and stays so. */
  readonly late = new Store(false);
  /** Whether something is being done about that just now. */
  readonly catchingUp = new Store(false);

  readonly #env: PlayerEnvironment;
  readonly #outlook: Outlook;
  readonly #guard = new DelayGuard();
  readonly #url: string;
  readonly #backoff: Backoff;
  #running = false;
  #session: Session | null = null;
  /** Whose picture is up: closed only when there is another, since with it the picture goes black. */
  #shown: RTCPeerConnection | null = null;
  #sourceRuns: boolean | null = null;
  #patience = 1;
  #lastFrameAt = 0;
  #quietSince: number | null = null;
  #unseenSince: number | null = null;
  #playingSince = 0;
  #droppedAt = Number.NEGATIVE_INFINITY;
  #lastPackets = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #limit: ReturnType<typeof setTimeout> | undefined;
  #poll: ReturnType<typeof setInterval> | undefined;
  #lift: ReturnType<typeof setTimeout> | undefined;

  constructor(whepUrl: string, env: PlayerEnvironment, outlook = NO_OUTLOOK) {
    this.#url = whepUrl;
    this.#env = env;
    this.#outlook = outlook;
    this.#backoff = new Backoff(250, 4000, env.random);
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#join();
  }

  /** Leaves: tells the box, frees the decoder. `start` begins anew. */
  stop(): void {
    this.#running = false;
    this.#end();
    clearTimeout(this.#retry);
    this.#show(null, null);
    this.blockedPort.set(null);
    this.#set('idle');
  }

  /**
   * A frame with this RTP timestamp is drawn, whose last packet came at `receivedAt`; true when it is of the present,
   * not of what the decoder catches up on.
   */
  frame(rtp?: number, receivedAt?: number): boolean {
    const session = this.#session;
    // While the next session is set up, frames of the last one may still be drawn.
    if (!session || session.peer !== this.#shown) return false;
    const now = this.#env.now();
    this.#lastFrameAt = now;
    this.#quietSince = null;
    this.#unseenSince = null;
    // In step with their sound pictures wait by design.
    const waitedMs = receivedAt === undefined || this.inSync.get() ? 0 : now - receivedAt;
    if (!session.curtain.frame(rtp, now, this.#outlook.namesEdges(), waitedMs)) {
      this.#liftInTime(session);
      return false;
    }
    this.#pictureComes();
    return true;
  }

  /** The box names the RTP timestamp from which on a session shows the present. */
  edge(name: string, rtp: number): void {
    const session = this.#session;
    if (!session || name !== this.sessionName.get()) return;
    session.curtain.edge(rtp, this.#env.now());
    if (session.peer === this.#shown) this.#liftInTime(session);
  }

  /** Nothing more may come of what the curtain waits for. */
  #liftInTime(session: Session): void {
    clearTimeout(this.#lift);
    const ms = session === this.#session ? session.curtain.opensIn(this.#env.now()) : null;
    if (ms === 0) this.#pictureComes();
    else if (ms !== null) this.#lift = setTimeout(() => this.#liftInTime(session), ms);
  }

  /** What the box says of the source, as soon as it says so. */
  sourceRuns(runs: boolean): void {
    if (this.#sourceRuns === runs) return;
    this.#sourceRuns = runs;
    this.#quietSince = null;
    const { state } = this.status.get();
    if (runs && (state === 'waiting' || state === 'refused')) this.#joinNow();
  }

  /** The page woke, or the network came back: do not wait for timers that were set in another world. */
  wake(): void {
    if (!this.#running) return;
    const session = this.#session;
    if (!session) {
      this.#joinNow();
      return;
    }
    const { connectionState } = session.peer;
    if (connectionState === 'failed' || connectionState === 'closed') this.rejoin();
    else if (connectionState === 'disconnected') this.#rejoinUnless(session, 1000);
    else void this.verify();
  }

  /** Asks the box whether it still knows the session, and joins anew if it does not. */
  async verify(): Promise<void> {
    const session = this.#session;
    if (!session?.url) return;
    if ((await isGone(this.#env.fetch, session.url)) && session === this.#session) this.rejoin();
  }

  /** Replaces the session at once. */
  rejoin(): void {
    if (!this.#running) return;
    this.#end();
    this.#joinNow();
  }

  #set(state: PlayerState, reason: string | null = null, detail: string | null = null): void {
    if (state !== 'joining' && state !== 'playing') {
      this.late.set(false);
      this.catchingUp.set(false);
    }
    const last = this.status.get();
    if (last.state !== state || last.reason !== reason || last.detail !== detail) {
      this.status.set({ state, reason, detail });
    }
  }

  #joinNow(): void {
    clearTimeout(this.#retry);
    this.#backoff.reset();
    this.#join();
  }

  #joinLater(ms: number): void {
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#join(), ms);
  }

  #join(): void {
    if (!this.#running || this.#session) return;
    let peer: RTCPeerConnection;
    try {
      peer = this.#env.createPeer();
    } catch (error) {
      this.#set('refused', 'no_webrtc', String(error));
      return;
    }
    const { state } = this.status.get();
    // While nothing is live, each try in between is no news.
    const isFresh = state === 'idle' || this.catchingUp.get();
    if (state !== 'waiting' && state !== 'refused') this.#set(isFresh ? 'joining' : 'lost');
    const session: Session = {
      peer,
      url: null,
      watch: new DecoderWatch(this.#patience),
      connected: false,
      curtain: new Curtain(),
      picture: peer.addTransceiver('video', { direction: 'recvonly' }).receiver,
      tracks: [],
      port: null,
      renewed: false,
    };
    this.#session = session;
    this.#rejoinUnless(session, JOIN_MS);
    this.#negotiate(session).catch((error: unknown) => {
      if (session !== this.#session) return;
      this.#end();
      this.#onRefusal(error);
    });
  }

  async #negotiate(session: Session): Promise<void> {
    const { peer, tracks } = session;
    peer.addTransceiver('audio', { direction: 'recvonly' });
    holdNothing(session.picture);
    peer.ontrack = ({ track }) => {
      if (session !== this.#session) return;
      tracks.push(track);
      const isSound = track.kind === 'audio';
      const show = () => {
        if (session !== this.#session) return;
        if (isSound) this.sound.set(this.#env.createStream([track]));
        else this.#show(peer, this.#env.createStream([track]));
      };
      const nothingUp = isSound ? this.sound.get() === null : this.#shown === null || this.#shown === peer;
      // A track is muted until its first packet: till then the old picture is better than none.
      if (nothingUp || !track.muted) show();
      else track.addEventListener('unmute', show, { once: true });
    };
    peer.onconnectionstatechange = () => {
      if (session === this.#session) this.#onConnection(session);
    };
    const [{ type, sdp: plain = '' }] = await Promise.all([
      peer.createOffer(),
      relay(this.#env.fetch, peer, this.#url),
    ]);
    // A browser that takes no changes to its offer plays mono and asks again slowly, if it must.
    await peer
      .setLocalDescription({ type, sdp: amend(plain) })
      .catch(() => peer.setLocalDescription({ type, sdp: plain }));
    const sdp = peer.localDescription?.sdp ?? '';
    // Never aborted early: an answer that comes too late still names the session that has to be ended.
    const abort = new AbortController();
    const tooLong = setTimeout(() => abort.abort(), JOIN_MS);
    const lipSync = this.#outlook.lipSync();
    const url = lipSync === null ? this.#url : `${this.#url}?lip_sync=${Number(lipSync)}`;
    const answer = await offer(this.#env.fetch, url, sdp, abort.signal).finally(() => clearTimeout(tooLong));
    if (session !== this.#session) {
      // Left while the answer was on its way: the box must not keep what nobody watches.
      leave(this.#env.fetch, answer.session);
      return;
    }
    session.url = answer.session;
    this.sessionName.set(/\/([0-9A-Za-z]{1,64})$/.exec(answer.session ?? '')?.[1] ?? null);
    session.port = /^a=candidate:\S+ \d+ udp \d+ \S+ (\d+)/im.exec(answer.sdp)?.[1] ?? MEDIA_PORT;
    await peer.setRemoteDescription({ type: 'answer', sdp: answer.sdp });
    if (session !== this.#session) return;
    this.inSync.set(isInSync(answer.sdp));
    if (!tracks.some(({ kind }) => kind === 'audio')) this.sound.set(null);
    this.#set('joining');
  }

  #onRefusal(error: unknown): void {
    if (!(error instanceof WhepRefusal)) {
      this.#set('lost');
      this.#joinLater(this.#backoff.next());
      return;
    }
    const { status, code, message, retryAfterMs } = error;
    if (code === 'not_live' || status === 404 || (status === 409 && code === 'http_409')) {
      this.#show(null, null);
      this.#set('waiting', code, message);
      this.#joinLater(retryAfterMs ?? WAITING_MS);
    } else if (status >= 500 && code !== 'full') {
      this.#set('lost', code, message);
      this.#joinLater(Math.max(retryAfterMs ?? 0, this.#backoff.next()));
    } else {
      this.#show(null, null);
      this.#set('refused', code, message);
      this.#joinLater(retryAfterMs ?? REFUSED_MS);
    }
  }

  #onConnection(session: Session): void {
    switch (session.peer.connectionState) {
      case 'connected':
        clearTimeout(this.#limit);
        if (session.connected) break;
        session.connected = true;
        this.blockedPort.set(null);
        this.#lastFrameAt = this.#env.now();
        this.#quietSince = null;
        this.#unseenSince = null;
        clearInterval(this.#poll);
        this.#poll = setInterval(() => void this.#check(session), POLL_MS);
        break;
      case 'disconnected':
        this.#rejoinUnless(session, DISCONNECTED_MS);
        break;
      case 'failed':
      case 'closed':
        this.#replace();
        break;
    }
  }

  /** Gives the connection this long to come (back), and replaces it otherwise. */
  #rejoinUnless(session: Session, ms: number): void {
    clearTimeout(this.#limit);
    this.#limit = setTimeout(() => {
      if (session === this.#session && session.peer.connectionState !== 'connected') this.#replace();
    }, ms);
  }

  /** Replaces the session without hurry: it may fail again for the same reason. */
  #replace(): void {
    const session = this.#session;
    if (session?.port && !session.connected) this.blockedPort.set(session.port);
    this.#end();
    this.#set('lost');
    this.#joinLater(this.#backoff.next());
  }

  async #check(session: Session): Promise<void> {
    let reading: Reading | null = null;
    try {
      reading = readStats(await session.peer.getStats());
    } catch {
      return;
    }
    if (session !== this.#session || !session.connected) return;
    const now = this.#env.now();
    const hidden = this.#env.hidden();
    if (reading) this.#keepUp(session, now, hidden ? null : reading);
    if (session !== this.#session) return;
    if (reading) this.reading.set(reading);
    const health = reading ? session.watch.read(now, reading, hidden) : 'quiet';
    if (health === 'stuck') {
      this.#patience = Math.min(MAX_PATIENCE, this.#patience * 2);
      this.#replace();
      return;
    }
    if (health === 'flowing') {
      this.#quietSince = null;
      // Hidden pages get no frame callbacks, and a picture behind the curtain may get none.
      const undrawn = !session.curtain.isOpen && !this.waitsForTap && session.curtain.decoded(now);
      if (hidden || !this.#env.frameCallbacks || (undrawn && session.peer === this.#shown)) {
        this.#lastFrameAt = now;
        this.#pictureComes();
      }
    }
    if (this.#rendererHangs(now, health === 'flowing' && !hidden)) {
      this.#unseenSince = null;
      if (session.renewed) {
        this.#patience = Math.min(MAX_PATIENCE, this.#patience * 2);
        this.#replace();
        return;
      }
      session.renewed = true;
      const pictures = session.tracks.filter(({ kind }) => kind === 'video');
      this.#show(session.peer, this.#env.createStream(pictures));
    }
    const isPlaying = this.status.get().state === 'playing';
    if (now - this.#lastFrameAt > STILL_MS && isPlaying) this.#set('paused');
    if (health === 'flowing') {
      if (isPlaying && now - this.#playingSince > STEADY_MS) this.#patience = 1;
      return;
    }
    this.#quietSince ??= now;
    // Packets without pictures are the decoder watch's to time.
    const packets = reading?.packetsReceived ?? 0;
    if (packets !== this.#lastPackets) this.#quietSince = now;
    this.#lastPackets = packets;
    if (now - this.#quietSince > SILENT_MS * this.#patience && this.#sourceRuns === true && !hidden) {
      this.#patience = Math.min(MAX_PATIENCE, this.#patience * 2);
      this.#replace();
    }
  }

  /** Drops to live where the delay has grown; `reading` is `null` while a page out of sight shows nothing. */
  #keepUp(session: Session, now: number, reading: Reading | null): void {
    const measured = reading && this.#outlook.delayMs();
    const held = reading && heldMs(this.reading.get(), reading);
    const [delay, meter] = measured === null ? [held, 'browser'] : [measured, 'box'];
    const drop = this.#guard.read(now, session.curtain.isOpen ? delay : null, meter, this.inSync.get());
    if (drop !== 'none') this.#droppedAt = now;
    this.#tellLateness(!session.curtain.isOpen || drop === 'rejoin');
    if (drop === 'nudge') holdNothing(session.picture);
    if (drop === 'rejoin') this.rejoin();
  }

  /** `joins`: the session that shall be of the present has no picture yet. */
  #tellLateness(joins: boolean): void {
    const { isBehind } = this.#guard;
    this.late.set(isBehind);
    const isFresh = this.#env.now() - this.#droppedAt < CATCHING_UP_MS;
    this.catchingUp.set(isFresh && (isBehind || joins));
  }

  /** Pictures are decoded, and none is shown where one should be. */
  #rendererHangs(now: number, shouldShow: boolean): boolean {
    if (!shouldShow || !this.#env.frameCallbacks || this.waitsForTap) {
      this.#unseenSince = null;
      return false;
    }
    this.#unseenSince ??= now;
    return now - this.#unseenSince > UNSEEN_MS * this.#patience;
  }

  #pictureComes(): void {
    clearTimeout(this.#lift);
    this.seen.set(true);
    this.#tellLateness(false);
    if (this.status.get().state === 'playing') return;
    this.#backoff.reset();
    this.#playingSince = this.#env.now();
    this.#set('playing');
  }

  #end(): void {
    const session = this.#session;
    this.#session = null;
    this.#lastPackets = 0;
    clearTimeout(this.#limit);
    clearTimeout(this.#lift);
    clearInterval(this.#poll);
    this.#guard.fresh();
    this.reading.set(null);
    this.sessionName.set(null);
    if (!session) return;
    session.peer.ontrack = null;
    session.peer.onconnectionstatechange = null;
    leave(this.#env.fetch, session.url);
    if (session.peer !== this.#shown) session.peer.close();
  }

  #show(peer: RTCPeerConnection | null, media: MediaStream | null): void {
    const before = this.#shown;
    this.#shown = peer;
    if (peer === null) this.sound.set(null);
    this.media.set(media);
    if (before !== peer) this.seen.set(false);
    if (before !== peer) before?.close();
  }
}

/** No waiting in the jitter buffer: of all receivers only the picture's, whose lateness is what matters here. */
function holdNothing(receiver: RTCRtpReceiver): void {
  const tunable = receiver as RTCRtpReceiver & {
    jitterBufferTarget?: number | null;
    playoutDelayHint?: number | null;
  };
  if ('jitterBufferTarget' in tunable) tunable.jitterBufferTarget = 0;
  else if ('playoutDelayHint' in tunable) (tunable as { playoutDelayHint: number }).playoutDelayHint = 0;
}

/** The browser's own. Its only ICE server is the box: everything works without the internet. */
export const browserPlayer: PlayerEnvironment = {
  fetch: (url, init) => fetch(url, init),
  createPeer: () => new RTCPeerConnection({ bundlePolicy: 'max-bundle' }),
  createStream: (tracks) => new MediaStream(tracks),
  now: () => performance.now(),
  random: () => Math.random(),
  hidden: () => document.visibilityState === 'hidden',
  get frameCallbacks() {
    return 'requestVideoFrameCallback' in HTMLVideoElement.prototype;
  },
};
