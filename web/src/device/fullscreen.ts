/**
 * Full screen. An iPhone can put only a bare video on its whole screen, which would hide the tally, so there (and
 * wherever the request is refused) the page goes `immersive` instead: everything but picture and tally is hidden.
 */
import { Store } from '../store';

type Prefixed = HTMLElement & { webkitRequestFullscreen?: () => Promise<void> | undefined };
type PrefixedDocument = Document & {
  webkitFullscreenElement?: Element | null;
  webkitExitFullscreen?: () => void;
};

export const fullScreen = new Store(false);

const current = (): Element | null =>
  document.fullscreenElement ?? (document as PrefixedDocument).webkitFullscreenElement ?? null;

export function watchFullScreen(): void {
  const note = () => fullScreen.set(current() !== null);
  document.addEventListener('fullscreenchange', note);
  document.addEventListener('webkitfullscreenchange', note);
}

export async function toggleFullScreen(): Promise<void> {
  if (fullScreen.get()) {
    if (document.fullscreenElement) await document.exitFullscreen().catch(() => {});
    else if (current()) (document as PrefixedDocument).webkitExitFullscreen?.();
    fullScreen.set(false);
    return;
  }
  const page = document.documentElement as Prefixed;
  try {
    if (page.requestFullscreen) await page.requestFullscreen({ navigationUI: 'hide' });
    else await page.webkitRequestFullscreen?.();
  } catch {
    // Refused: immersive it is.
  }
  fullScreen.set(true);
}
