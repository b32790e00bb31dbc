/** The page: which parts are shown where, and the controls. */
import { useEffect, useState } from 'preact/hooks';
import type { View } from '../address';
import type { App } from '../app';
import { fullScreen, toggleFullScreen } from '../device/fullscreen';
import { canVibrate } from '../device/vibrate';
import type { Door } from '../door/door';
import { t } from '../i18n';
import { chosen, type Shown } from '../tally/tally';
import { Chooser } from './chooser';
import { Director } from './director';
import { useIdle, useStore } from './hooks';
import { Control, type IconName } from './icons';
import { Lamp } from './lamp';
import { Picture } from './picture';
import { asksToBeLetIn, ProblemHelp, Setup } from './setup';
import { Share } from './share';
import { SoundChip, SoundControl, SoundPanel, SoundSource } from './sound';
import { Details, ShowFlags, Status, Trust } from './status';
import { TallyFrame, TallySpoken, TallyWord } from './tally';
import { TALLY_SPOKEN } from './words';

const IDLE_MS = 4000;
/** A source gone for this long may need setting up. */
const GONE_MS = 15_000;
const VIEWS: [View, IconName][] = [
  ['viewer', 'screen'],
  ['lamp', 'lamp'],
  ['director', 'grid'],
];
const TITLE_MARK: Record<Shown, string> = { program: '●', preview: '◐', safe: '○', unknown: '✕', none: '○' };

type Open = 'chooser' | 'share' | 'details' | 'sound' | null;

export function Page({ app, door }: { app: App; door: Pick<Door, 'barred'> }) {
  const { camera, view, stream } = useStore(app.place);
  const state = useStore(app.link.state);
  const now = chosen(camera, useStore(app.link.tally), state);
  const [open, setOpen] = useState<Open>(null);
  const idle = useIdle(IDLE_MS);
  const full = useStore(fullScreen);
  const help = useHelp(app, door);
  const close = () => setOpen(null);

  useEffect(() => {
    document.title = `${TITLE_MARK[now.tally]} ${now.name ? `${now.name}: ${t(TALLY_SPOKEN[now.tally])}` : stream}`;
  }, [now.tally, now.name, stream]);

  const quiet = idle && open === null && (view === 'lamp' || full || help === null);
  return (
    <main
      class={`page ${view}`}
      data-quiet={quiet ? '' : undefined}
      data-full={full ? '' : undefined}
      data-help={help && view !== 'lamp' ? '' : undefined}
    >
      <TallySpoken tally={now.tally} name={now.name} />
      <SoundSource app={app} />
      {view === 'lamp' ? (
        <Lamp app={app} now={now} quiet={quiet} />
      ) : (
        <>
          <div class="stage">
            <Picture app={app} covered={help !== null} />
            {help}
          </div>
          {view === 'director' && <Director app={app} />}
        </>
      )}
      {view === 'viewer' && <TallyFrame tally={now.tally} />}
      {view === 'viewer' && (
        <div class="head">
          <TallyWord tally={now.tally} />
          <p class="who">
            <span class="who-names">
              {now.name !== null && <span class="who-name">{now.name}</span>}
              {!now.found && <span class="who-note">{t('tally_not_found')}</span>}
            </span>
            <ShowFlags app={app} />
          </p>
        </div>
      )}
      <footer class="foot">
        {view !== 'lamp' && <SleepHint app={app} />}
        <Status app={app} picture={view !== 'lamp'}>
          <SoundChip app={app} onOpen={() => setOpen('sound')} />
        </Status>
        <div class="controls">
          <button
            type="button"
            class={camera === null ? 'choose wanted' : 'choose'}
            id="choose"
            onClick={() => setOpen('chooser')}
          >
            <span>{now.name ?? t('choose_camera')}</span>
          </button>
          <SoundControl app={app} />
          {VIEWS.map(([one, icon]) => (
            <Control
              key={one}
              id={`view-${one}`}
              icon={icon}
              label={t(`view_${one}`)}
              pressed={view === one}
              onClick={() => app.go({ view: one })}
            />
          ))}
          {canVibrate() && <Vibration app={app} />}
          <Control id="share" icon="share" label={t('share')} onClick={() => setOpen('share')} />
          <Control id="details" icon="info" label={t('details')} onClick={() => setOpen('details')} />
          <Control
            id="full"
            icon={full ? 'unfull' : 'full'}
            label={t(full ? 'full_screen_leave' : 'full_screen')}
            onClick={() => void toggleFullScreen()}
          />
        </div>
      </footer>
      {open === 'chooser' && <Chooser app={app} onClose={close} />}
      {open === 'share' && <Share app={app} onClose={close} />}
      {open === 'details' && <Details app={app} onClose={close} />}
      {open === 'sound' && <SoundPanel app={app} onClose={close} />}
    </main>
  );
}

/** What stands in the picture's place when there is none to show; `null` while there is. */
function useHelp(app: App, door: Pick<Door, 'barred'>) {
  const player = useStore(app.player);
  const barred = useStore(door.barred);
  const { state, reason, detail } = useStore(player.status);
  const wantsIn = state === 'refused' && reason !== null && asksToBeLetIn(reason);
  const seen = useStore(player.seen);
  useStore(app.link.streams);
  const stream = app.stream();
  const gone = state === 'paused' && stream?.live === false;
  const [goneLong, setGoneLong] = useState(false);
  useEffect(() => {
    setGoneLong(false);
    if (!gone) return;
    const timer = setTimeout(() => setGoneLong(true), GONE_MS);
    return () => clearTimeout(timer);
  }, [gone]);
  if (state === 'playing') return null;
  if (stream?.live && stream.problem && !stream.playable) {
    return <ProblemHelp code={stream.problem.code} text={stream.problem.text} />;
  }
  // Which of the two it is takes a moment to know: the page asks for what lets it in, or is kept from asking.
  if (wantsIn && !barred) return null;
  if (state === 'refused') return <ProblemHelp code={reason ?? ''} text={detail ?? ''} />;
  const noSource = stream ? !stream.live : app.link.streams.get() !== null || state === 'waiting';
  // A picture that stopped a moment ago stays in sight; the session waits for the source to come back.
  return noSource && (!seen || goneLong) && state !== 'idle' ? <Setup app={app} /> : null;
}

function SleepHint({ app }: { app: App }) {
  if (!useStore(app.sleepHint)) return null;
  return (
    <>
      <button type="button" class="sleep-hint" id="sleep-hint" onClick={() => app.closeSleepHint()}>
        {t('sleep_hint')} <b>{t('close')}</b>
      </button>
      <Trust app={app} />
    </>
  );
}

function Vibration({ app }: { app: App }) {
  const on = useStore(app.vibration);
  return (
    <Control
      icon={on ? 'vibrate' : 'still'}
      label={t(on ? 'vibrate_on' : 'vibrate_off')}
      pressed={on}
      onClick={() => app.setVibration(!on)}
    />
  );
}
