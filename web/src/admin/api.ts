/** What the administrator's page asks of the box (docs/api.md). */

export interface Session {
  role: string;
  password: boolean;
  administration: 'https' | 'plain' | 'https_needed' | 'https_off' | 'not_from_here';
}

export interface Link {
  id: string;
  name: string;
  role: 'viewer' | 'director';
  ends_in_s: number | null;
}

export interface Made {
  link: Link;
  url: string;
  qr: string | null;
}

/** What is shown of the state of the box. */
export interface State {
  connections: { now: number; most: number };
  memory: { used_bytes: number | null; bound_bytes: number };
  problems: { code: string; subject: string; text: string }[];
}

/** The box said no. */
export class Refused extends Error {
  readonly code: string;
  /** In seconds, where it said when to try again. */
  readonly retryAfter: number | null;

  constructor(code: string, detail: string, retryAfter: number | null) {
    super(detail);
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

export class Api {
  readonly #root: string;
  readonly #fetch: typeof fetch;

  constructor(root: string, ask: typeof fetch) {
    this.#root = root;
    this.#fetch = ask;
  }

  session = () => this.#ask<Session>('GET', 'session');
  signIn = (password: string) => this.#ask<Session>('POST', 'session', { password });
  signOut = () => this.#ask<null>('DELETE', 'session');
  setPassword = (password: string, code: string) =>
    this.#ask<Session>('PUT', 'administrator/password', { password }, code);
  state = () => this.#ask<State>('GET', 'status');
  links = async () => (await this.#ask<{ links: Link[] }>('GET', 'links')).links;
  makeLink = (name: string, role: string, holds_s: number | null) =>
    this.#ask<Made>('POST', 'links', { name, role, holds_s });
  revoke = (id: string) => this.#ask<null>('DELETE', `links/${encodeURIComponent(id)}`);

  async #ask<T>(method: string, path: string, body?: object, code?: string): Promise<T> {
    const headers: Record<string, string> = {};
    if (body) headers['Content-Type'] = 'application/json';
    if (code !== undefined) headers.Authorization = `Bearer ${code.replace(/[^ -~]/g, '')}`;
    const url = new URL(`api/v1/${path}`, this.#root).href;
    const answer = await this.#fetch(url, {
      method,
      headers,
      body: body ? JSON.stringify(body) : null,
      cache: 'no-store',
    });
    if (answer.ok) return answer.status === 204 ? (null as T) : await answer.json();
    const said = await answer.json().catch(() => ({}));
    const wait = answer.headers.get('Retry-After');
    throw new Refused(
      String(said.code ?? ''),
      String(said.detail ?? ''),
      wait === null ? null : Number(wait),
    );
  }
}
