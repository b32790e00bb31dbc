/**
 * The video element: where the player's picture is shown, and what lies on it when it is not live. While the next
 * session catches up with the present, a still of the last picture stands in its place.
 */
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
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
  const still = useRef<HTMLCanvasElement>(null);
  const player = useStore(app.player);
  const media = useStore(player.media);
  const { state } = useStore(player.status);
  const seen = useStore(player.seen);
  const blockedPort = useStore(player.blockedPort);
  const link = useStore(app.link.state);
  useStore(app.link.streams);
  const catchingUp = useStore(player.catchingUp);
  const [needsTap, setNeedsTap] = useState(false);
  const [hasStill, setHasStill] = useState(false);

  const waitForTap = (waits: boolean) => {
    player.waitsForTap = waits;
    setNeedsTap(waits);
  };
  const play = (element: HTMLVideoElement) => {
    element.play().then(
      () => waitForTap(false),
      (error: unknown) => {
        if (error instanceof DOMException && error.name === 'NotAllowedError') waitForTap(true);
      },
    );
  };

  // At once: with the session that it came from, the last picture goes black.
  useLayoutEffect(() => {
    setHasStill(false);
    return player.media.subscribe((next) => {
      // A picture that is still hidden itself is none to keep: the one in its place stays.
      const isSeen = player.seen.get();
      setHasStill((has) => next !== null && (isSeen ? keep(video.current, still.current) : has));
    });
  }, [player]);

  useEffect(() => {
    const element = video.current;
    if (!element) return;
    // As a property: the attribute alone only sets the default, and autoplay asks for the real thing.
    element.muted = true;
    element.srcObject = media;
    if (media) play(element);
  }, [media]);

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
      if (!player.frame(frame.rtpTimestamp, frame.receiveTime)) return;
      // When the frame can be seen; some browsers only know when it was handed to the compositor.
      const shown = Math.max(frame.expectedDisplayTime || 0, frame.presentationTime || 0) || now;
      if (frame.rtpTimestamp !== undefined) app.delay.presented(frame.rtpTimestamp, shown);
    };
    handle = element.requestVideoFrameCallback(onFrame);
    return () => element.cancelVideoFrameCallback(handle);
  }, [player]);

  const hidden = media !== null && !seen;
  const shows = seen || hasStill;
  const old = media !== null && shows && state !== 'playing' && !catchingUp;
  const stopped = app.stream()?.live === false && (state === 'paused' || link === 'live');
  const note =
    catchingUp && shows && state !== 'playing'
      ? t('still_catching_up')
      : old
        ? t(stopped ? 'still_source' : STILL_WORD[state])
        : shows || needsTap || (state !== 'joining' && state !== 'lost')
          ? null
          : blockedPort !== null
            ? t('no_media', { port: blockedPort })
            : t(state === 'joining' ? 'joining' : 'no_box');
  return (
    <div class={old ? 'picture old' : 'picture'}>
      <video ref={video} class={hidden ? 'hidden' : undefined} playsInline autoPlay disablePictureInPicture />
      <canvas ref={still} class={hidden && hasStill ? undefined : 'hidden'} />
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

/** Keeps what the video shows; false where it shows nothing. */
function keep(video: HTMLVideoElement | null, still: HTMLCanvasElement | null): boolean {
  const paint = still?.getContext('2d');
  if (!video?.videoWidth || !still || !paint) return false;
  [still.width, still.height] = [video.videoWidth, video.videoHeight];
  paint.drawImage(video, 0, 0);
  return true;
}
