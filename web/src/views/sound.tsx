/** Sound: one tap for it that stays in sight, how loud it is, and a panel for the rest. */
import { useEffect, useRef } from 'preact/hooks';
import type { App } from '../app';
import { t } from '../i18n';
import { FLOOR_DB, fall, toDb } from '../sound/meter';
import { useStore } from './hooks';
import { Control, Icon } from './icons';
import { Panel } from './panel';
import { SOUND_WORD } from './words';

/** The element that plays; it is never seen. */
export function SoundSource({ app }: { app: App }) {
  const element = useRef<HTMLAudioElement>(null);
  useEffect(() => (element.current ? app.sound.attach(element.current) : undefined), []);
  return <audio ref={element} />;
}

/** What there is to hear, always in sight: a tap takes its invitation to turn the sound on, and opens the panel else. */
export function SoundChip({ app, onOpen }: { app: App; onOpen: () => void }) {
  const state = useStore(app.sound.state);
  const wanted = useStore(app.sound.wanted);
  const stream = useStore(useStore(app.player).sound);
  if (stream === null) return null;
  const plays = state === 'playing';
  // Whoever has muted it knows where to find it; everybody else is told.
  const inviting = state === 'blocked' || (state === 'muted' && wanted === null);
  const word = t(inviting ? 'sound_tap' : state === 'none' ? 'sound_none' : plays ? 'on' : 'sound_muted');
  return (
    <button
      type="button"
      class={inviting ? 'chip inviting' : state === 'none' ? 'chip quiet' : 'chip'}
      id="level"
      data-sound={state}
      aria-label={`${t('sound')}: ${word}`}
      onClick={() => (inviting ? app.sound.turn(true) : onOpen())}
    >
      <Icon name={plays ? 'sound' : 'muted'} />
      {plays ? <LevelBars app={app} /> : word}
    </button>
  );
}

/** Mutes and unmutes in one tap. */
export function SoundControl({ app }: { app: App }) {
  const state = useStore(app.sound.state);
  if (state === 'none') return null;
  const plays = state === 'playing';
  return (
    <Control
      id="sound"
      icon={plays ? 'sound' : 'muted'}
      label={t(plays ? 'mute' : 'unmute')}
      onClick={() => app.sound.turn(!plays)}
    />
  );
}

/** One bar for each channel, drawn as often as the screen is. */
function LevelBars({ app }: { app: App }) {
  const bars = useRef<HTMLSpanElement>(null);
  useEffect(() => {
    let handle = 0;
    let before = performance.now();
    const shown = [FLOOR_DB, FLOOR_DB];
    const draw = (now: number) => {
      handle = requestAnimationFrame(draw);
      const heard = app.sound.meter.read() ?? plainLevel(app);
      [...(bars.current?.children ?? [])].forEach((bar, channel) => {
        const db = fall(shown[channel] ?? FLOOR_DB, heard[channel] ?? FLOOR_DB, now - before);
        shown[channel] = db;
        if (!(bar instanceof HTMLElement)) return;
        bar.style.setProperty('--level', String(1 - db / FLOOR_DB));
        bar.dataset.db = db.toFixed(1);
      });
      before = now;
    };
    handle = requestAnimationFrame(draw);
    return () => cancelAnimationFrame(handle);
  }, []);
  return (
    <span class="bars" ref={bars} aria-hidden="true">
      <i />
      <i />
    </span>
  );
}

/** Where the meter cannot listen, the browser's own figure stands for both channels. */
function plainLevel(app: App): number[] {
  const db = toDb(app.player.get().reading.get()?.audioLevel ?? 0);
  return [db, db];
}

export function SoundPanel({ app, onClose }: { app: App; onClose: () => void }) {
  const { sound } = app;
  const state = useStore(sound.state);
  const volume = useStore(sound.volume);
  const hasVolume = useStore(sound.hasVolume);
  const inSync = useStore(useStore(app.player).inSync);
  const plays = state === 'playing';
  const percent = Math.round(volume * 100);
  return (
    <Panel title={t('sound')} onClose={onClose}>
      <div class="loudness">
        <p id="sound-state">{t(SOUND_WORD[state])}</p>
        {plays && <LevelBars app={app} />}
      </div>
      {state !== 'none' && (
        <button
          type="button"
          class={plays ? 'plain' : 'plain inviting'}
          id="mute"
          onClick={() => sound.turn(!plays)}
        >
          <Icon name={plays ? 'muted' : 'sound'} /> {t(plays ? 'mute' : 'unmute')}
        </button>
      )}
      {hasVolume ? (
        <label class="slider">
          <span>{t('volume')}</span>
          <input
            type="range"
            id="volume"
            min={0}
            max={100}
            value={percent}
            aria-valuetext={`${percent} %`}
            onInput={({ currentTarget }) => sound.setVolume(currentTarget.valueAsNumber / 100)}
          />
          <output>{percent} %</output>
        </label>
      ) : (
        <p class="hint">{t('volume_buttons')}</p>
      )}
      <button
        type="button"
        class="choice switch"
        id="lip-sync"
        aria-pressed={inSync}
        onClick={() => sound.setLipSync(!inSync)}
      >
        <span class="choice-name">{t('lip_sync')}</span>
        <span class="choice-detail">{t('lip_sync_about')}</span>
        <b>{t(inSync ? 'on' : 'off')}</b>
      </button>
    </Panel>
  );
}
