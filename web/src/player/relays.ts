/**
 * How to be relayed where nothing comes straight from the box: asked of the box for each session, because it draws new
 * secrets when it starts. Without an answer there is only the direct way, as there is without a relay.
 */
import type { Fetch } from './whep';

/** A direct session must not wait long for what it will not need. */
const PATIENCE_MS = 1500;

/** Gives a connection that has not begun to gather the relays of a WHEP endpoint, if they are named in time. */
export async function relay(fetch: Fetch, peer: RTCPeerConnection, whepUrl: string): Promise<void> {
  const give = async () => {
    const response = await fetch(`${whepUrl}/ice-servers`, { cache: 'no-store' });
    const { iceServers } = await response.json();
    peer.setConfiguration({ ...peer.getConfiguration(), iceServers });
  };
  const late = new Promise<void>((resolve) => setTimeout(resolve, PATIENCE_MS));
  // No answer, no JSON, nothing that this browser takes, or a connection closed meanwhile.
  await Promise.race([give().catch(() => {}), late]);
}
