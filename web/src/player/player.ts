/**
 * The player: one stream's picture, kept up for ever. Owns the WHEP session, the peer connection and every reason
 * to keep or to replace them. Framework-free: a view gives it a place to show `media` and tells it of frames.
 *
 * A pause is no reason to leave: the box keeps the session while its source restarts, and the picture comes back in
 * the same session within a frame of the new source's first IDR. The session is replaced when ICE has failed or has been
 * disconnected for long, when the box was restarted or has forgotten the session, when a decoder hangs, and when
 * nothing comes although the box says that the stream runs.
 */
import { Backoff } from '../backoff';
import { Store } from '../store';
import { DecoderWatch, type Reading, readStats } from './health';
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
/** A picture that came for this long has earned full impatience again. */
const STEADY_MS = 30_000;

interface Session {
  peer: RTCPeerConnection;
  /** The session's URL, once the box has answered. */
  url: string | null;
  watch: DecoderWatch;
  connected: boolean;
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
  /** The UDP port that nothing came through although the box had answered; `null` while there is no such doubt. */
  readonly blockedPort = new Store<string | null>(null);
  /** Set by the view while the browser plays nothing before a tap. */
  waitsForTap = false;
  readonly reading = new Store<Reading | null>(null);
  /** Whether the session carries sound. */
  readonly hasAudio = new Store(false);

  readonly #env: PlayerEnvironment;
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
  #lastPackets = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #limit: ReturnType<typeof setTimeout> | undefined;
  #poll: ReturnType<typeof setInterval> | undefined;

  constructor(whepUrl: string, env: PlayerEnvironment) {
    this.#url = whepUrl;
    this.#env = env;
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

  /** A frame is on the screen. */
  frame(): void {
    // While the next session is set up, frames of the last one may still be drawn.
    if (!this.#session || this.#session.peer !== this.#shown) return;
    this.#lastFrameAt = this.#env.now();
    this.#quietSince = null;
    this.#unseenSince = null;
    this.#pictureComes();
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
    if (state !== 'waiting' && state !== 'refused') this.#set(state === 'idle' ? 'joining' : 'lost');
    const session: Session = {
      peer,
      url: null,
      watch: new DecoderWatch(this.#patience),
      connected: false,
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
    const video = peer.addTransceiver('video', { direction: 'recvonly' });
    peer.addTransceiver('audio', { direction: 'recvonly' });
    holdNothing(video.receiver);
    peer.ontrack = ({ track }) => {
      if (session !== this.#session) return;
      tracks.push(track);
      this.hasAudio.set(tracks.some(({ kind }) => kind === 'audio'));
      const show = () => {
        if (session === this.#session) this.#show(peer, this.#env.createStream([...tracks]));
      };
      // A track is muted until its first packet: till then the old picture is better than none.
      if (this.#shown === null || this.#shown === peer || !track.muted) show();
      else track.addEventListener('unmute', show, { once: true });
    };
    peer.onconnectionstatechange = () => {
      if (session === this.#session) this.#onConnection(session);
    };
    await peer.setLocalDescription(await peer.createOffer());
    const sdp = peer.localDescription?.sdp ?? '';
    // Never aborted early: an answer that comes too late still names the session that has to be ended.
    const abort = new AbortController();
    const tooLong = setTimeout(() => abort.abort(), JOIN_MS);
    const answer = await offer(this.#env.fetch, this.#url, sdp, abort.signal).finally(() =>
      clearTimeout(tooLong),
    );
    if (session !== this.#session) {
      // Left while the answer was on its way: the box must not keep what nobody watches.
      leave(this.#env.fetch, answer.session);
      return;
    }
    session.url = answer.session;
    session.port = /^a=candidate:\S+ \d+ udp \d+ \S+ (\d+)/im.exec(answer.sdp)?.[1] ?? MEDIA_PORT;
    await peer.setRemoteDescription({ type: 'answer', sdp: answer.sdp });
    if (session !== this.#session) return;
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
    if (reading) this.reading.set(reading);
    const health = reading ? session.watch.read(now, reading, hidden) : 'quiet';
    if (health === 'stuck') {
      this.#patience = Math.min(MAX_PATIENCE, this.#patience * 2);
      this.#replace();
      return;
    }
    if (health === 'flowing') {
      this.#quietSince = null;
      // Hidden pages get no frame callbacks.
      if (hidden || !this.#env.frameCallbacks) {
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
      this.#show(session.peer, this.#env.createStream([...session.tracks]));
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
    this.seen.set(true);
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
    clearInterval(this.#poll);
    this.reading.set(null);
    if (!session) return;
    session.peer.ontrack = null;
    session.peer.onconnectionstatechange = null;
    leave(this.#env.fetch, session.url);
    if (session.peer !== this.#shown) session.peer.close();
  }

  #show(peer: RTCPeerConnection | null, media: MediaStream | null): void {
    const before = this.#shown;
    this.#shown = peer;
    if (before !== peer) this.seen.set(false);
    this.media.set(media);
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

/** The browser's own. No ICE servers: everything works without the internet. */
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
