/** The video element: where the player's picture is shown, muted first, and what lies on it when it is not live. */
import { useEffect, useRef, useState } from 'preact/hooks';
import type { App } from '../app';
import { type Key, t } from '../i18n';
import type { PlayerState } from '../player/player';
import { useStore } from './hooks';
import { Icon } from './icons';

/** Why the picture on the screen is old, where it is not that the source has stopped. */
const STILL_WORD: Record<PlayerState, Key> = {
  idle: 'still_lost',
  joining: 'still_joining',
  playing: 'still_unknown',
  paused: 'still_unknown',
  waiting: 'still_lost',
  refused: 'still_lost',
  lost: 'still_lost',
};

/** `covered`: help stands in its place, and says more than a note could. */
export function Picture({ app, covered }: { app: App; covered: boolean }) {
  const video = useRef<HTMLVideoElement>(null);
  const player = useStore(app.player);
  const media = useStore(player.media);
  const muted = useStore(app.muted);
  const { state } = useStore(player.status);
  const seen = useStore(player.seen);
  const blockedPort = useStore(player.blockedPort);
  const link = useStore(app.link.state);
  useStore(app.link.streams);
  const [needsTap, setNeedsTap] = useState(false);

  const waitForTap = (waits: boolean) => {
    player.waitsForTap = waits;
    setNeedsTap(waits);
  };
  const play = (element: HTMLVideoElement) => {
    element.play().then(
      () => waitForTap(false),
      (error: unknown) => {
        if (!(error instanceof DOMException) || error.name !== 'NotAllowedError') return;
        if (element.muted) {
          waitForTap(true);
          return;
        }
        // Sound is not allowed before a tap; a picture without it is.
        app.muted.set(true);
        element.muted = true;
        play(element);
      },
    );
  };

  useEffect(() => {
    const element = video.current;
    if (!element) return;
    // As a property: the attribute alone only sets the default, and autoplay asks for the real thing.
    element.muted = app.muted.get();
    element.srcObject = media;
    if (media) play(element);
  }, [media]);

  useEffect(() => {
    const element = video.current;
    if (!element || element.muted === muted) return;
    element.muted = muted;
    if (media) play(element);
  }, [muted]);

  useEffect(() => {
    const element = video.current;
    if (!element) return;
    const again = () => {
      if (document.visibilityState === 'visible' && element.srcObject && element.paused) play(element);
    };
    document.addEventListener('visibilitychange', again);
    element.addEventListener('pause', again);
    return () => {
      document.removeEventListener('visibilitychange', again);
      element.removeEventListener('pause', again);
    };
  }, []);

  useEffect(() => {
    const element = video.current;
    if (!element || !('requestVideoFrameCallback' in element)) return;
    let handle = 0;
    const onFrame = (now: number, frame: VideoFrameCallbackMetadata) => {
      handle = element.requestVideoFrameCallback(onFrame);
      player.frame();
      // When the frame can be seen; some browsers only know when it was handed to the compositor.
      const shown = Math.max(frame.expectedDisplayTime || 0, frame.presentationTime || 0) || now;
      if (frame.rtpTimestamp !== undefined) app.delay.presented(frame.rtpTimestamp, shown);
    };
    handle = element.requestVideoFrameCallback(onFrame);
    return () => element.cancelVideoFrameCallback(handle);
  }, [player]);

  const old = media !== null && seen && state !== 'playing';
  const stopped = app.stream()?.live === false && (state === 'paused' || link === 'live');
  const note = old
    ? t(stopped ? 'still_source' : STILL_WORD[state])
    : seen || needsTap || (state !== 'joining' && state !== 'lost')
      ? null
      : blockedPort !== null
        ? t('no_media', { port: blockedPort })
        : t(state === 'joining' ? 'joining' : 'no_box');
  return (
    <div class={old ? 'picture old' : 'picture'}>
      <video ref={video} playsInline autoPlay disablePictureInPicture />
      {note !== null && !covered && <p class={old || blockedPort !== null ? 'note warn' : 'note'}>{note}</p>}
      {needsTap && (
        <button
          type="button"
          class="tap"
          onClick={() => {
            if (video.current) play(video.current);
          }}
        >
          <Icon name="play" />
          {t('tap_to_play')}
        </button>
      )}
    </div>
  );
}
