/** The administrator's page: the password, and links for persons. */
import { render } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import '../styles/base.css';
import './admin.css';
import { Api, type Link, type Made, Refused, type Session, type State } from './api';
import { language, w } from './words';

const HOUR_S = 3600;
/** What a link may hold for, in seconds. */
const HOLDS: [number | null, string][] = [
  [null, w('ever')],
  [12 * HOUR_S, w('hours', { n: 12 })],
  [72 * HOUR_S, w('days', { n: 3 })],
  [720 * HOUR_S, w('days', { n: 30 })],
];

const meta = document.querySelector<HTMLMetaElement>('meta[name="returnfeed-root"]')?.content ?? './';
const api = new Api(new URL(meta, location.href).href, (url, init) => fetch(url, init));

function wordsOf(error: unknown): string {
  if (!(error instanceof Refused)) return w('failed');
  if (error.code === 'locked_out' && error.retryAfter !== null) return w('locked', { s: error.retryAfter });
  return error.message || w('failed');
}

function Admin() {
  const [session, setSession] = useState<Session | null>(null);
  const [trouble, setTrouble] = useState('');
  const [anew, setAnew] = useState(false);
  /** Does something, then looks again who is signed in; says why when it fails. */
  const act = async (doing: () => Promise<unknown>) => {
    try {
      setTrouble('');
      await doing();
    } catch (error) {
      setTrouble(wordsOf(error));
    }
    await api.session().then(setSession, () => setTrouble(w('failed')));
  };
  useEffect(() => void act(async () => {}), []);
  const content = () => {
    if (session === null) return null;
    const { role, password, administration } = session;
    if (administration !== 'https' && administration !== 'plain') return <p>{w(administration)}</p>;
    if (role === 'administrator') {
      return (
        <>
          <Links
            onSignOut={() => void act(api.signOut)}
            onTrouble={(error) => void act(() => Promise.reject(error))}
          />
          <Condition />
        </>
      );
    }
    if (!password || anew) {
      return (
        <Secrets
          code
          onGiven={(given, code) => void act(() => api.setPassword(given, code).then(() => setAnew(false)))}
        />
      );
    }
    return (
      <>
        <Secrets onGiven={(given) => void act(() => api.signIn(given))} />
        <button type="button" class="quiet" id="forgotten" onClick={() => setAnew(true)}>
          {w('forgotten')}
        </button>
      </>
    );
  };
  return (
    <main class="admin">
      <h1>{w('title')}</h1>
      {session?.administration === 'plain' && <p class="warn">{w('plain')}</p>}
      <p role="alert" id="trouble">
        {trouble}
      </p>
      {content()}
    </main>
  );
}

/** A password, and with `code` the set-up code by which it is set. */
function Secrets({
  code = false,
  onGiven,
}: {
  code?: boolean;
  onGiven: (password: string, code: string) => void;
}) {
  const [password, setPassword] = useState('');
  const [setup, setSetup] = useState('');
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        onGiven(password, setup);
      }}
    >
      {code && (
        <>
          <p>{w('first')}</p>
          <label>
            {w('code')}
            <input
              id="code"
              autocomplete="off"
              value={setup}
              onInput={(e) => setSetup(e.currentTarget.value)}
            />
          </label>
        </>
      )}
      <label>
        {w(code ? 'new_password' : 'password')}
        <input
          id="password"
          type="password"
          autocomplete={code ? 'new-password' : 'current-password'}
          minLength={code ? 10 : undefined}
          required
          value={password}
          onInput={(event) => setPassword(event.currentTarget.value)}
        />
      </label>
      <button type="submit" id="go">
        {w(code ? 'set' : 'sign_in')}
      </button>
    </form>
  );
}

const LOOK_EVERY_MS = 5_000;
const mb = (bytes: number) => Math.round(bytes / 1_048_576);

/** How the box is: what it needs and should at most, and what is wrong. */
function Condition() {
  const [state, setState] = useState<State | null>(null);
  useEffect(() => {
    const look = () => void api.state().then(setState, () => setState(null));
    look();
    const looks = setInterval(look, LOOK_EVERY_MS);
    return () => clearInterval(looks);
  }, []);
  if (state === null) return null;
  const { memory, connections, problems } = state;
  return (
    <section id="state">
      <h2>{w('state')}</h2>
      {memory.used_bytes !== null && (
        <p>{w('memory', { used: mb(memory.used_bytes), most: mb(memory.bound_bytes) })}</p>
      )}
      <p>{w('connections', connections)}</p>
      {problems.map(({ code, subject, text }) => (
        <p key={code + subject} class="warn">
          {text}
        </p>
      ))}
    </section>
  );
}

function left(seconds: number): string {
  const hours = Math.ceil(seconds / HOUR_S);
  return w('left', { t: hours > 48 ? w('days', { n: Math.ceil(hours / 24) }) : w('hours', { n: hours }) });
}

function Links({ onSignOut, onTrouble }: { onSignOut: () => void; onTrouble: (error: unknown) => void }) {
  const [links, setLinks] = useState<Link[]>([]);
  const [made, setMade] = useState<Made | null>(null);
  const [name, setName] = useState('');
  const [role, setRole] = useState('viewer');
  const [holds, setHolds] = useState<number | null>(null);
  const then = (doing: Promise<unknown>) => doing.then(api.links).then(setLinks, onTrouble);
  useEffect(() => void then(Promise.resolve()), []);
  return (
    <>
      <h2>{w('links')}</h2>
      <p>{w('links_help')}</p>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void then(
            api.makeLink(name, role, holds).then((link) => {
              setMade(link);
              setName('');
            }),
          );
        }}
      >
        <label>
          {w('name')}
          <input
            id="name"
            required
            maxLength={64}
            value={name}
            onInput={(e) => setName(e.currentTarget.value)}
          />
        </label>
        <label>
          {w('role')}
          <select id="role" value={role} onChange={(event) => setRole(event.currentTarget.value)}>
            <option value="viewer">{w('viewer')}</option>
            <option value="director">{w('director')}</option>
          </select>
        </label>
        <label>
          {w('ends')}
          <select onChange={(event) => setHolds(HOLDS[event.currentTarget.selectedIndex]?.[0] ?? null)}>
            {HOLDS.map(([seconds, words]) => (
              <option key={words} selected={seconds === holds}>
                {words}
              </option>
            ))}
          </select>
        </label>
        <button type="submit" id="make">
          {w('make')}
        </button>
      </form>
      {made && (
        <section class="made">
          <p>{w('made', { name: made.link.name })}</p>
          {/* Drawn by the box; it has neither script nor style in it. */}
          {made.qr && <div class="qr" dangerouslySetInnerHTML={{ __html: made.qr }} />}
          <code id="url">{made.url}</code>
          {'clipboard' in navigator && (
            <button type="button" onClick={() => void navigator.clipboard.writeText(made.url)}>
              {w('copy')}
            </button>
          )}
        </section>
      )}
      <ul class="links">
        {links.map((link) => (
          <li key={link.id}>
            <b>{link.name}</b>
            <span>{w(link.role)}</span>
            <span>{link.ends_in_s === null ? '' : left(link.ends_in_s)}</span>
            <button type="button" class="revoke" onClick={() => void then(api.revoke(link.id))}>
              {w('revoke')}
            </button>
          </li>
        ))}
      </ul>
      {links.length === 0 && <p>{w('none')}</p>}
      <button type="button" id="sign-out" onClick={onSignOut}>
        {w('sign_out')}
      </button>
    </>
  );
}

document.documentElement.lang = language;
document.title = `ReturnFeed: ${w('title')}`;
const place = document.getElementById('admin');
if (place) render(<Admin />, place);
