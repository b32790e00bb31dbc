/**
 * The WHEP client (draft-ietf-wish-whep), the part of it a player on the box's own page needs: one POST with the
 * whole offer, DELETE on leaving. No trickle: the box is ICE-lite and learns the viewer's address from its checks.
 */

export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

export interface WhepAnswer {
  sdp: string;
  /** The session's absolute URL, or `null` when the server named none. */
  session: string | null;
}

/** The server said no. `code` is the box's own word for it where it gave one, else `http_<status>`. */
export class WhepRefusal extends Error {
  readonly status: number;
  readonly code: string;
  /** What `Retry-After` asks for, in milliseconds, or `null`. */
  readonly retryAfterMs: number | null;

  constructor(status: number, code: string, detail: string, retryAfterMs: number | null) {
    super(detail || `HTTP ${status}`);
    this.status = status;
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Seconds or an HTTP date (RFC 9110 §10.2.3), as milliseconds from `wallNow`; at most a minute. */
export function retryAfter(header: string | null, wallNow: number): number | null {
  if (!header) return null;
  const ms = /^\s*\d+(\.\d+)?\s*$/.test(header) ? Number(header) * 1000 : Date.parse(header) - wallNow;
  return Number.isNaN(ms) ? null : Math.min(60_000, Math.max(0, ms));
}

async function refusal(response: Response): Promise<WhepRefusal> {
  let code = `http_${response.status}`;
  let detail = '';
  try {
    const body: unknown = JSON.parse(await response.text());
    if (typeof body === 'object' && body !== null) {
      if ('code' in body && typeof body.code === 'string') code = body.code;
      if ('detail' in body && typeof body.detail === 'string') detail = body.detail;
    }
  } catch {
    // A proxy's own page, most likely: the status has to do.
  }
  return new WhepRefusal(
    response.status,
    code,
    detail,
    retryAfter(response.headers.get('Retry-After'), Date.now()),
  );
}

/** Offers and returns the answer; rejects with `WhepRefusal`, or as `fetch` does. */
export async function offer(
  fetch: Fetch,
  url: string,
  sdp: string,
  signal: AbortSignal,
): Promise<WhepAnswer> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/sdp' },
    body: sdp,
    signal,
  });
  if (!response.ok) throw await refusal(response);
  const location = response.headers.get('Location');
  return {
    sdp: await response.text(),
    session: location ? new URL(location, response.url || url).href : null,
  };
}

/** Ends a session; outlives the page (`keepalive`), and what comes of it matters to nobody. */
export function leave(fetch: Fetch, session: string | null): void {
  if (session) fetch(session, { method: 'DELETE', keepalive: true }).catch(() => {});
}

/** Whether the box has forgotten the session. Only a clear 404 or 410 counts: not knowing is no reason to leave. */
export async function isGone(fetch: Fetch, session: string): Promise<boolean> {
  try {
    const { status } = await fetch(session, { method: 'GET', cache: 'no-store' });
    return status === 404 || status === 410;
  } catch {
    return false;
  }
}
