/** Stand-ins for the browser's peer connection and `fetch`, for the player's tests. */
import { vi } from 'vitest';
import type { PlayerEnvironment } from './player';

/** Muted until its first packet, as a browser's remote tracks are. */
export class FakeTrack extends EventTarget {
  muted = true;

  constructor(readonly kind: string) {
    super();
  }

  unmute(): void {
    this.muted = false;
    this.dispatchEvent(new Event('unmute'));
  }
}

export class FakePeer {
  connectionState: RTCPeerConnectionState = 'new';
  localDescription: { sdp: string } | null = null;
  ontrack: ((event: { track: FakeTrack }) => void) | null = null;
  readonly track = new FakeTrack('video');
  /** Whether the answer sends sound too. */
  sound = false;
  onconnectionstatechange: (() => void) | null = null;
  answer: string | null = null;
  closed = false;
  packets = 0;
  frames = 0;
  heldS = 0;
  /** Whether an offer that was changed is refused. */
  strict = false;
  offer = 'v=0 offer';
  receivers: { kind: string; jitterBufferTarget: number | null }[] = [];

  configuration: RTCConfiguration = { bundlePolicy: 'max-bundle' };

  getConfiguration() {
    return this.configuration;
  }
  setConfiguration(configuration: RTCConfiguration) {
    this.configuration = configuration;
  }
  addTransceiver(kind: string) {
    const receiver = { kind, jitterBufferTarget: null };
    this.receivers.push(receiver);
    return { receiver };
  }
  async createOffer() {
    return { type: 'offer', sdp: this.offer };
  }
  async setLocalDescription(description: { sdp: string }) {
    if (this.strict && description.sdp !== this.offer) throw new DOMException('', 'InvalidModificationError');
    this.localDescription = description;
  }
  async setRemoteDescription({ sdp }: { sdp: string }) {
    this.answer = sdp;
    this.ontrack?.({ track: this.track });
    if (this.sound) this.ontrack?.({ track: new FakeTrack('audio') });
  }
  async getStats() {
    return new Map([
      [
        'v',
        {
          type: 'inbound-rtp',
          kind: 'video',
          packetsReceived: this.packets,
          framesDecoded: this.frames,
          jitterBufferDelay: this.heldS,
          jitterBufferEmittedCount: this.frames,
        },
      ],
    ]);
  }
  close() {
    this.closed = true;
  }

  become(state: RTCPeerConnectionState): void {
    this.connectionState = state;
    this.onconnectionstatechange?.();
  }
}

export interface Request {
  method: string;
  url: string;
  init: RequestInit;
}

/** The box and the browser's media half, seen and steered by a test. */
export class FakeWorld {
  readonly peers: FakePeer[] = [];
  readonly requests: Request[] = [];
  hidden = false;
  sound = false;
  offer = 'v=0 offer';
  strict = false;
  /** Answers the POSTs; replace it to answer otherwise. */
  post = async (): Promise<Response> =>
    new Response('v=0 answer', { status: 201, headers: { Location: `/pgm/whep/${this.peers.length}` } });
  /** Answers who asks for relays. */
  relays = async (): Promise<Response> => new Response(null, { status: 404 });
  /** Answers the GET on a session. */
  get = async (): Promise<Response> => new Response(null, { status: 405 });

  readonly env: PlayerEnvironment = {
    fetch: async (url, init) => {
      const method = init.method ?? 'GET';
      if (url.endsWith('/ice-servers')) return this.relays();
      this.requests.push({ method, url, init });
      if (method === 'POST') return this.post();
      return method === 'GET' ? this.get() : new Response(null, { status: 200 });
    },
    createPeer: () => {
      const peer = new FakePeer();
      peer.sound = this.sound;
      peer.offer = this.offer;
      peer.strict = this.strict;
      this.peers.push(peer);
      return peer as unknown as RTCPeerConnection;
    },
    createStream: (tracks) => ({ tracks }) as unknown as MediaStream,
    now: () => performance.now(),
    random: () => 1,
    hidden: () => this.hidden,
    frameCallbacks: true,
  };

  count(method: string): number {
    return this.requests.filter((request) => request.method === method).length;
  }

  peer(): FakePeer {
    const peer = this.peers[this.peers.length - 1];
    if (!peer) throw new Error('no peer connection was made');
    return peer;
  }

  /** Lets time pass with this many packets and pictures a second; `shown` is told of the latter. */
  async flow(ms: number, packets: number, frames: number, shown: () => void = () => {}): Promise<void> {
    for (let passed = 0; passed < ms; passed += 100) {
      const peer = this.peer();
      peer.packets += packets / 10;
      peer.frames += frames / 10;
      if (frames > 0) shown();
      await vi.advanceTimersByTimeAsync(100);
    }
  }
}

export function refuse(status: number, code: string, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify({ code, detail: `because ${code}` }), {
    status,
    headers: { 'Content-Type': 'application/problem+json', ...headers },
  });
}
