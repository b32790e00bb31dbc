/** With no picture to show: what to enter in vMix, or what to change there. */
import type { App } from '../app';
import { type Key, t } from '../i18n';
import type { Listen } from '../wire';
import { useStore } from './hooks';

/** Host and port of an `srt://` address, whose scheme the URL parsers of some browsers do not take apart. */
export function hostAndPort(url: string): { host: string; port: string } | null {
  const match = /^srt:\/\/(\[[^\]]+\]|[^:/?]+):(\d+)/.exec(url);
  return match?.[1] && match[2] ? { host: match[1].replace(/^\[|\]$/g, ''), port: match[2] } : null;
}

/** The addresses to enter for a stream: the first is the one to try first. */
export function entriesFor(listen: Listen, stream: string): { host: string; port: string; id: string }[] {
  return listen.srt.flatMap(({ url, stream_id }) => {
    const at = hostAndPort(url);
    // The box lists the stream ID of its default stream; another stream's ID is its name.
    return at ? [{ ...at, id: stream === 'pgm' ? stream_id || stream : stream }] : [];
  });
}

export function Setup({ app }: { app: App }) {
  const hello = useStore(app.link.hello);
  const { stream } = useStore(app.place);
  const entries = hello ? entriesFor(hello.listen, stream) : [];
  const first = entries[0];
  const others = [...new Set(entries.slice(1).map(({ host, port }) => `${host} : ${port}`))];
  const rows: [Key, string][] = first
    ? [
        ['setup_type', t('setup_caller')],
        ['setup_host', first.host],
        ['setup_port', first.port],
        ['setup_latency', `${hello?.listen.latency_ms ?? 120} ms`],
        ['setup_stream_id', first.id],
        ['setup_codec', 'H.264'],
        ['setup_keyframes', t('setup_keyframes_value')],
        ['setup_b_frames', t('setup_b_frames_value')],
      ]
    : [];
  return (
    <div class="help" id="setup">
      <h1>{t('setup_title')}</h1>
      <p>{t('setup_lead', { stream })}</p>
      {first ? (
        <dl class="table entry">
          {rows.map(([key, value]) => (
            <div key={key}>
              <dt>{t(key)}</dt>
              <dd>{value}</dd>
            </div>
          ))}
        </dl>
      ) : (
        <p class="hint">{t('setup_no_box')}</p>
      )}
      {others.length > 0 && (
        <p class="hint">
          {t('setup_other_addresses')} <span class="mono">{others.join(', ')}</span>
        </p>
      )}
      <p class="hint">
        {t('setup_passphrase')} {t('setup_starts')}
      </p>
    </div>
  );
}

/** Every code that the box can give for not sending a picture. */
export const BOX_CODES = [
  'b_frames',
  'bad_offer',
  'forbidden',
  'full',
  'h265_not_yet',
  'link_ended',
  'link_needed',
  'no_keyframe',
  'no_picture',
  'not_live',
  'pin_needed',
  'secret_needed',
  'senders_fight',
] as const;

const KNOWN = new Map<string, Key>(
  Object.entries({
    b_frames: 'problem_b_frames',
    bad_offer: 'problem_bad_offer',
    forbidden: 'problem_denied',
    full: 'problem_full',
    h265_not_yet: 'problem_h265',
    // The page asks for what is needed, so this is seen where a proxy keeps it from asking.
    link_ended: 'problem_door',
    link_needed: 'problem_door',
    no_keyframe: 'problem_no_keyframe',
    no_picture: 'problem_no_picture',
    not_live: 'problem_not_live',
    pin_needed: 'problem_door',
    secret_needed: 'problem_denied',
    senders_fight: 'problem_senders_fight',
    // The browser's own, and a proxy's.
    no_webrtc: 'problem_no_webrtc',
    http_401: 'problem_denied',
    http_403: 'problem_denied',
  } satisfies Record<(typeof BOX_CODES)[number] | 'no_webrtc' | `http_${number}`, Key>),
);

/** The page's own words for a code; `null` where only the box can explain it. */
export const problemKey = (code: string): Key | null => KNOWN.get(code) ?? null;

/** Whether a code is one of those that the page itself has the cure of: a PIN, or a link. */
export const asksToBeLetIn = (code: string): boolean => problemKey(code) === 'problem_door';

export function ProblemHelp({ code, text }: { code: string; text: string }) {
  const key = problemKey(code);
  return (
    <div class="help" id="problem" data-code={code}>
      <h1>{t('problem_title')}</h1>
      {key && <p>{t(key)}</p>}
      {(text || !key) && <p class={key ? 'hint' : ''}>{t('problem_said', { text: text || code })}</p>}
      <p class="hint">{t('problem_retry')}</p>
    </div>
  );
}
