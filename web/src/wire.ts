/**
 * What the box and the page say to each other over the WebSocket. Owns the shapes and their validation; it
 * keeps no state. Whatever is malformed becomes `null` or its harmless default: nothing here throws.
 */

export type Tally = 'program' | 'preview' | 'safe' | 'unknown';

export interface Input {
  number: number;
  key: string;
  title: string;
  kind: string;
  tally: Tally;
}

export interface Camera {
  name: string;
  inputs: number[];
  tally: Tally;
}

export interface Show {
  streaming: boolean;
  recording: boolean;
  external: boolean;
  fade_to_black: boolean;
}

export interface TallyMessage {
  type: 'tally';
  seq: number;
  source: 'live' | 'unknown';
  /** How old the box's own knowledge was when it sent this, in milliseconds. */
  age_ms: number;
  inputs: Input[];
  cameras: Camera[];
  show: Show;
}

export interface Problem {
  code: string;
  text: string;
}

/** The source's sound; numbers are 0 while they are not known. */
export interface StreamSound {
  codec: string;
  channels: number;
  sample_rate_hz: number;
}

export interface Stream {
  name: string;
  live: boolean;
  codec: string;
  width: number;
  height: number;
  fps: number;
  sound: StreamSound | null;
  playable: boolean;
  problem: Problem | null;
  viewers: number;
}

/** Where the box listens, in its real addresses. */
export interface Listen {
  srt: { url: string; stream_id: string }[];
  latency_ms: number;
  page: string[];
}

export interface HelloMessage {
  type: 'hello';
  version: string;
  /** The box's clock (monotonic, arbitrary zero), in milliseconds, as all its times here. */
  now_ms: number;
  streams: Stream[];
  listen: Listen;
}

export interface StreamsMessage {
  type: 'streams';
  streams: Stream[];
}

export interface ClockMessage {
  type: 'clock';
  id: number;
  received_ms: number;
}

export interface MediaMessage {
  type: 'media';
  stream: string;
  /** RTP timestamp of a video frame, and when its last byte arrived at the box. */
  rtp: [number, number][];
}

export interface EdgeMessage {
  type: 'edge';
  session: string;
  /** From this RTP timestamp on, the session shows the present. */
  rtp: number;
}

export type Message =
  | HelloMessage
  | TallyMessage
  | StreamsMessage
  | ClockMessage
  | MediaMessage
  | EdgeMessage;

type Raw = Record<string, unknown>;

const isRaw = (value: unknown): value is Raw => typeof value === 'object' && value !== null;
const text = (value: unknown): string => (typeof value === 'string' ? value : '');
const number = (value: unknown): number => (typeof value === 'number' && Number.isFinite(value) ? value : 0);
const list = (value: unknown): Raw[] => (Array.isArray(value) ? value.filter(isRaw) : []);
const tally = (value: unknown): Tally =>
  value === 'program' || value === 'preview' || value === 'safe' ? value : 'unknown';

function sound(raw: unknown): StreamSound | null {
  if (!isRaw(raw)) return null;
  return {
    codec: text(raw.codec),
    channels: number(raw.channels),
    sample_rate_hz: number(raw.sample_rate_hz),
  };
}

function stream(raw: Raw): Stream {
  return {
    name: text(raw.name),
    live: raw.live === true,
    codec: text(raw.codec),
    width: number(raw.width),
    height: number(raw.height),
    fps: number(raw.fps),
    sound: sound(raw.sound),
    playable: raw.playable !== false,
    problem: isRaw(raw.problem) ? { code: text(raw.problem.code), text: text(raw.problem.text) } : null,
    viewers: number(raw.viewers),
  };
}

/** Reads one WebSocket message; `null` for anything that is not one of ours. */
export function parseMessage(data: unknown): Message | null {
  if (typeof data !== 'string') return null;
  let raw: unknown;
  try {
    raw = JSON.parse(data);
  } catch {
    return null;
  }
  if (!isRaw(raw)) return null;
  switch (raw.type) {
    case 'tally': {
      const show = isRaw(raw.show) ? raw.show : {};
      return {
        type: 'tally',
        seq: number(raw.seq),
        source: raw.source === 'live' ? 'live' : 'unknown',
        age_ms: number(raw.age_ms),
        inputs: list(raw.inputs).map((input) => ({
          number: number(input.number),
          key: text(input.key),
          title: text(input.title),
          kind: text(input.kind),
          tally: tally(input.tally),
        })),
        cameras: list(raw.cameras).map((camera) => ({
          name: text(camera.name),
          inputs: Array.isArray(camera.inputs) ? camera.inputs.map(number) : [],
          tally: tally(camera.tally),
        })),
        show: {
          streaming: show.streaming === true,
          recording: show.recording === true,
          external: show.external === true,
          fade_to_black: show.fade_to_black === true,
        },
      };
    }
    case 'hello': {
      const listen = isRaw(raw.listen) ? raw.listen : {};
      return {
        type: 'hello',
        version: text(raw.version),
        now_ms: number(raw.now_ms),
        streams: list(raw.streams).map(stream),
        listen: {
          srt: list(listen.srt).map((srt) => ({ url: text(srt.url), stream_id: text(srt.stream_id) })),
          latency_ms: number(listen.latency_ms),
          page: Array.isArray(listen.page) ? listen.page.map(text).filter(Boolean) : [],
        },
      };
    }
    case 'streams':
      return { type: 'streams', streams: list(raw.streams).map(stream) };
    case 'clock':
      return { type: 'clock', id: number(raw.id), received_ms: number(raw.received_ms) };
    case 'media':
      return {
        type: 'media',
        stream: text(raw.stream),
        rtp: (Array.isArray(raw.rtp) ? raw.rtp : [])
          .filter((pair): pair is unknown[] => Array.isArray(pair) && pair.length >= 2)
          .map((pair) => [number(pair[0]), number(pair[1])]),
      };
    case 'edge':
      return typeof raw.rtp === 'number'
        ? { type: 'edge', session: text(raw.session), rtp: number(raw.rtp) }
        : null;
    default:
      return null;
  }
}
