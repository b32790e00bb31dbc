/** Vibration, which iOS does not have at all and other browsers refuse before the first tap. */
import type { Shown } from '../tally/tally';

export const canVibrate = (): boolean => typeof navigator.vibrate === 'function';

/** What the hand feels: long for on air, two short for next, nothing for the rest. */
export function vibrationFor(from: Shown, to: Shown): number[] | null {
  if (from === to) return null;
  if (to === 'program') return [400];
  if (to === 'preview') return [80, 80, 80];
  return null;
}

export function vibrate(pattern: number[] | null): void {
  if (!pattern || !canVibrate() || navigator.userActivation?.hasBeenActive === false) return;
  navigator.vibrate(pattern);
}
