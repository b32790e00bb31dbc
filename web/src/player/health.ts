/**
 * Reads the receiver's statistics and tells apart what only looks alike from outside: a source that pauses (no
 * packets: wait, the session lives) and a decoder that hangs (packets, but no pictures: join anew). Pure.
 */

export interface Counters {
  packetsReceived: number;
  framesDecoded: number;
}

export interface Reading extends Counters {
  bytesReceived: number;
  packetsLost: number;
  /** Milliseconds. */
  jitterMs: number;
  width: number;
  height: number;
  codec: string;
  /** How long all pictures so far were held before they were decoded, in milliseconds, and how many there were. */
  heldMs: number;
  released: number;
  /** Of the sound, 0 to 1. */
  audioLevel: number;
  /** How the media come; `null` while that is not known. */
  path: MediaPath | null;
}

/** How the media come: straight from the box or through its relay, and how the leg from here goes (`udp`, `tcp`, `tls`). */
export interface MediaPath {
  relayed: boolean;
  over: string;
}

type Stat = Record<string, unknown> & { type?: string; id?: string };
type Report = { forEach(take: (stat: Stat) => void): void };

const numberOf = (value: unknown): number => (typeof value === 'number' ? value : 0);

/** The video's inbound statistics of an `RTCStatsReport`; `null` while there are none. */
export function readStats(report: Report): Reading | null {
  let video: Stat | undefined;
  let audio: Stat | undefined;
  const codecs = new Map<unknown, string>();
  report.forEach((stat) => {
    if (stat.type === 'inbound-rtp' && (stat.kind === 'video' || stat.mediaType === 'video')) video = stat;
    if (stat.type === 'inbound-rtp' && stat.kind === 'audio') audio = stat;
    if (stat.type === 'codec') codecs.set(stat.id, String(stat.mimeType ?? '').replace(/^video\//, ''));
  });
  if (!video) return null;
  return {
    packetsReceived: numberOf(video.packetsReceived),
    framesDecoded: numberOf(video.framesDecoded),
    bytesReceived: numberOf(video.bytesReceived),
    packetsLost: numberOf(video.packetsLost),
    jitterMs: numberOf(video.jitter) * 1000,
    width: numberOf(video.frameWidth),
    height: numberOf(video.frameHeight),
    codec: codecs.get(video.codecId) ?? '',
    heldMs: numberOf(video.jitterBufferDelay) * 1000,
    released: numberOf(video.jitterBufferEmittedCount),
    audioLevel: numberOf(audio?.audioLevel),
    path: pathOf(report),
  };
}

/** The way of the selected candidate pair (W3C webrtc-stats §8.21). */
function pathOf(report: Report): MediaPath | null {
  const stats = new Map<unknown, Stat>();
  let pair: unknown;
  report.forEach((stat) => {
    stats.set(stat.id, stat);
    // Firefox marks the pair, others name it.
    if (stat.type === 'transport') pair ??= stat.selectedCandidatePairId;
    if (stat.selected) pair = stat.id;
  });
  const local = stats.get(stats.get(pair)?.localCandidateId);
  if (!local) return null;
  const relayed = local.candidateType === 'relay';
  return { relayed, over: String((relayed && local.relayProtocol) || local.protocol) };
}

/** How long the pictures between two readings were held on average; `null` where there were none. */
export function heldMs(before: Reading | null, after: Reading): number | null {
  const released = after.released - (before?.released ?? after.released);
  return before && released > 0 ? (after.heldMs - before.heldMs) / released : null;
}

/** `flowing`: pictures come. `quiet`: nothing comes. `stuck`: packets come and no picture is made of them. */
export type Health = 'flowing' | 'quiet' | 'stuck';

/** Before the first picture the wait may be for the next IDR, and encoders are set to ten seconds at times. */
const FIRST_PICTURE_MS = 12_000;
const STUCK_MS = 3500;
/** Fewer packets than this between two readings are no video. */
const FEW_PACKETS = 3;

export class DecoderWatch {
  #last: Counters | null = null;
  #stuckSince: number | null = null;
  readonly #patience: number;

  /** `patience` multiplies the limits: a stream that hung before gets longer before it is joined once more. */
  constructor(patience = 1) {
    this.#patience = patience;
  }

  /** Takes one reading at `now` (milliseconds); with `hidden` pages nothing is held against the decoder. */
  read(now: number, counters: Counters, hidden: boolean): Health {
    const last = this.#last;
    this.#last = { packetsReceived: counters.packetsReceived, framesDecoded: counters.framesDecoded };
    if (!last) return counters.framesDecoded > 0 ? 'flowing' : 'quiet';
    if (counters.framesDecoded !== last.framesDecoded) {
      this.#stuckSince = null;
      return 'flowing';
    }
    if (hidden || counters.packetsReceived - last.packetsReceived < FEW_PACKETS) {
      this.#stuckSince = null;
      return 'quiet';
    }
    this.#stuckSince ??= now;
    const limit = (counters.framesDecoded === 0 ? FIRST_PICTURE_MS : STUCK_MS) * this.#patience;
    return now - this.#stuckSince >= limit ? 'stuck' : 'quiet';
  }
}
