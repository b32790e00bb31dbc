/** Which word stands for which state. */
import type { Key } from '../i18n';
import type { LinkState } from '../link/link';
import type { PlayerState } from '../player/player';
import type { SoundState } from '../sound/sound';
import type { Shown } from '../tally/tally';
import type { TallyMessage } from '../wire';

export const TALLY_WORD: Record<Shown, Key> = {
  program: 'tally_program',
  preview: 'tally_preview',
  safe: 'tally_safe',
  unknown: 'tally_unknown',
  none: 'tally_none_chosen',
};

/** A dash is nothing to a screen reader. */
export const TALLY_SPOKEN: Record<Shown, Key> = { ...TALLY_WORD, safe: 'tally_safe_spoken' };

export type Health = 'good' | 'busy' | 'bad';

export const PLAYER_WORD: Record<PlayerState, [Key, Health]> = {
  idle: ['picture_idle', 'busy'],
  joining: ['picture_joining', 'busy'],
  playing: ['picture_playing', 'good'],
  paused: ['picture_paused', 'bad'],
  waiting: ['picture_waiting', 'bad'],
  refused: ['picture_refused', 'bad'],
  lost: ['picture_lost', 'bad'],
};

export const SOUND_WORD: Record<SoundState, Key> = {
  none: 'sound_none_long',
  muted: 'sound_muted',
  blocked: 'sound_blocked',
  playing: 'sound_playing',
};

const LINK_WORD: Record<LinkState, [Key, Health]> = {
  connecting: ['link_connecting', 'busy'],
  live: ['link_live', 'good'],
  silent: ['link_silent', 'bad'],
  waking: ['link_waking', 'busy'],
  down: ['link_down', 'bad'],
};

/** The tally link has two halves, page to box and box to vMix: the first that is broken is named. */
export function linkWord(state: LinkState, message: TallyMessage | null): [Key, Health] {
  if (state === 'live' && message?.source !== 'live') return ['link_no_vmix', 'bad'];
  return LINK_WORD[state];
}
