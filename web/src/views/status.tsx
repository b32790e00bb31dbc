/** What is known of picture, tally link and delay, in one line that stays in sight; and the details behind it. */
import type { ComponentChildren } from 'preact';
import { useRef } from 'preact/hooks';
import type { App } from '../app';
import { type Key, t } from '../i18n';
import type { StreamSound } from '../wire';
import { usePolled, useStore } from './hooks';
import { Panel } from './panel';
import { type Health, linkWord, PLAYER_WORD } from './words';

function Chip({ label, word, health, id }: { label: Key; word: string; health: Health; id: string }) {
  return (
    <span class={`chip ${health}`} id={id} data-health={health}>
      <i aria-hidden="true">{{ good: '●', busy: '◌', bad: '✕' }[health]}</i>
      <b>{t(label)}</b> <span class="value">{word}</span>
    </span>
  );
}

export function Status({
  app,
  picture,
  children,
}: {
  app: App;
  picture: boolean;
  children: ComponentChildren;
}) {
  const player = useStore(app.player);
  const [pictureWord, pictureHealth] = PLAYER_WORD[useStore(player.status).state];
  const [tallyWord, tallyHealth] = linkWord(useStore(app.link.state), useStore(app.link.tally));
  return (
    <div class="status">
      {picture && <Chip id="picture" label="picture" word={t(pictureWord)} health={pictureHealth} />}
      <Chip id="link" label="tally" word={t(tallyWord)} health={tallyHealth} />
      {picture && <Delay app={app} />}
      {picture && children}
    </div>
  );
}

function Delay({ app }: { app: App }) {
  const ms = usePolled(() => app.delay.delayMs(performance.now()), 500);
  const player = useStore(app.player);
  const late = useStore(player.late);
  const catchingUp = useStore(player.catchingUp);
  const word = ms === null ? t('delay_unknown') : t('delay_ms', { ms: Math.round(ms) });
  return (
    <span
      class={late || catchingUp ? 'chip delay bad' : 'chip delay'}
      id="delay"
      title={t('delay_about')}
      data-ms={ms === null ? '' : ms.toFixed(1)}
      data-health={catchingUp ? 'busy' : late ? 'bad' : 'good'}
    >
      <b>{t('delay')}</b> <span class="value">{word}</span>
      {catchingUp && <span class="value doing"> · {t('catching_up')}</span>}
    </span>
  );
}

/** What vMix does with the programme; shown only while it is known. */
export function ShowFlags({ app }: { app: App }) {
  const tally = useStore(app.link.tally);
  const state = useStore(app.link.state);
  if (!tally || state !== 'live' || tally.source !== 'live') return null;
  const { show } = tally;
  return (
    <span class="flags">
      {show.fade_to_black && <span class="flag ftb">{t('show_fade_to_black')}</span>}
      {show.streaming && <span class="flag">{t('show_streaming')}</span>}
      {show.recording && <span class="flag">{t('show_recording')}</span>}
      {show.external && <span class="flag">{t('show_external')}</span>}
    </span>
  );
}

export function Details({ app, onClose }: { app: App; onClose: () => void }) {
  const player = useStore(app.player);
  const reading = useStore(player.reading);
  const path = reading?.path ?? null;
  const hello = useStore(app.link.hello);
  const tally = useStore(app.link.tally);
  const kept = useStore(app.keeper.held);
  useStore(app.link.streams);
  const { state, reason, detail } = useStore(player.status);
  const linkState = useStore(app.link.state);
  const rate = useRate(() => player.reading.get());
  const delay = usePolled(() => app.delay.delayMs(performance.now()), 500);
  const stream = app.stream();
  const uncertainty = app.link.clock.uncertaintyMs();
  const [pictureWord] = PLAYER_WORD[state];
  const [tallyWord] = linkWord(linkState, tally);

  const rows: [Key, string | null][] = [
    ['picture', [t(pictureWord), reason, detail].filter(Boolean).join(' · ')],
    ['tally', t(tallyWord)],
    [
      'd_tally_age',
      tally && linkState === 'live' ? t('d_age_value', { ms: Math.round(tally.age_ms) }) : null,
    ],
    ['delay', delay === null ? null : `${t('delay_ms', { ms: Math.round(delay) })} · ${t('delay_about')}`],
    ['d_clock', uncertainty === null ? null : t('d_clock_value', { ms: uncertainty.toFixed(1) })],
    ['d_stream', app.place.get().stream],
    [
      'd_source',
      stream?.live
        ? `${stream.codec} · ${stream.width}×${stream.height} · ${Math.round(stream.fps * 100) / 100} fps`
        : t('stream_off'),
    ],
    ['sound', stream?.live ? soundWords(stream.sound) : null],
    ['d_viewers', stream ? String(stream.viewers) : null],
    ['d_format', reading?.width ? `${reading.codec} · ${reading.width}×${reading.height}` : null],
    ['d_path', path && `${t(path.relayed ? 'path_relayed' : 'path_direct')} · ${path.over.toUpperCase()}`],
    ['d_received', rate === null ? null : t('d_bitrate', { n: rate.toFixed(2) })],
    ['d_decoded', reading ? t('d_frames', { n: reading.framesDecoded }) : null],
    ['d_loss', reading ? String(reading.packetsLost) : null],
    ['d_jitter', reading ? `${reading.jitterMs.toFixed(1)} ms` : null],
    ['d_wake_lock', t(kept ? 'yes' : 'no')],
    ['d_box', hello ? `ReturnFeed ${hello.version}` : null],
  ];
  return (
    <Panel title={t('details')} onClose={onClose}>
      <dl class="table">
        {rows.map(([key, value]) => (
          <div key={key}>
            <dt>{t(key)}</dt>
            <dd>{value ?? '–'}</dd>
          </div>
        ))}
      </dl>
      <Trust app={app} />
    </Panel>
  );
}

/** Over plain HTTP, where the box has HTTPS: what that would bring, and how. */
export function Trust({ app }: { app: App }) {
  if (app.trust === null) return null;
  return (
    <p class="hint">
      {t('trust_hint')}{' '}
      <a class="trust" href={app.trust}>
        {t('trust_how')}
      </a>
    </p>
  );
}

function soundWords(sound: StreamSound | null): string {
  if (!sound) return t('sound_none');
  const khz = sound.sample_rate_hz > 0 ? `${sound.sample_rate_hz / 1000} kHz` : '';
  const channels = sound.channels > 0 ? t('d_channels', { n: sound.channels }) : '';
  return [sound.codec, channels, khz].filter(Boolean).join(' · ');
}

/** Megabits per second, between the two newest readings a second apart. */
function useRate(read: () => { bytesReceived: number } | null): number | null {
  const last = useRef<{ bytes: number; at: number } | null>(null);
  return usePolled(() => {
    const bytes = read()?.bytesReceived;
    const at = performance.now();
    const before = last.current;
    last.current = bytes === undefined ? null : { bytes, at };
    if (!before || bytes === undefined || at <= before.at || bytes < before.bytes) return null;
    return ((bytes - before.bytes) * 8) / (at - before.at) / 1000;
  }, 1000);
}
