/**
 * From what the box said to what one camera operator must know. Pure; owns the rule that nothing is shown as red,
 * green or safe unless it is known to be so now.
 */
import type { LinkState } from '../link/link';
import type { Input, Tally, TallyMessage } from '../wire';

/** One thing that can be chosen: a camera of the box's settings, or a vMix input. */
export interface Choice {
  /** What stands in the address: the camera's name, or the input's key (its number where vMix gives no key). */
  id: string;
  name: string;
  /** What is written below the name: the kind of the input, or the inputs of the camera. */
  detail: string;
  group: 'camera' | 'live' | 'other';
  tally: Tally;
}

/** `none`: all is well, but no camera is chosen, so there is no tally to show. */
export type Shown = Tally | 'none';

export interface Chosen {
  tally: Shown;
  /** The name to show, or `null` when nothing is chosen. */
  name: string | null;
  /** False when something is chosen that vMix does not have (any more). */
  found: boolean;
}

/** vMix input types that carry a live camera; the rest are clips, titles, colours, sound and mixes. */
const LIVE_KINDS =
  /^(capture|camera|ndi|omt|srt|rtsp|rtmp|rtp|stream|vlc|webrtc|videocall|zoom|decklink|sdi|hdmi)/i;

export const isLiveKind = (kind: string): boolean => LIVE_KINDS.test(kind.replace(/[\s_-]/g, ''));

const inputId = (input: Input): string => input.key || String(input.number);

/** Tally is believed only while the link is live and the box itself hears from vMix. */
export function believable(message: TallyMessage | null, link: LinkState): boolean {
  return link === 'live' && message?.source === 'live';
}

/** Everything that can be chosen: cameras first, then camera-type inputs, then the others, each in vMix's order. */
export function choices(message: TallyMessage | null, link: LinkState): Choice[] {
  if (!message) return [];
  const known = believable(message, link);
  const cameras = message.cameras.map(
    (camera): Choice => ({
      id: camera.name,
      name: camera.name,
      detail: camera.inputs.map((number) => `#${number}`).join(' '),
      group: 'camera',
      tally: known ? camera.tally : 'unknown',
    }),
  );
  const inputs = message.inputs.map(
    (input): Choice => ({
      id: inputId(input),
      name: input.title || `#${input.number}`,
      detail: `#${input.number}${input.kind ? ` · ${input.kind}` : ''}`,
      group: isLiveKind(input.kind) ? 'live' : 'other',
      tally: known ? input.tally : 'unknown',
    }),
  );
  return [
    ...cameras,
    ...inputs.filter(({ group }) => group === 'live'),
    ...inputs.filter(({ group }) => group === 'other'),
  ];
}

/** What the director watches: the cameras of the settings where there are some, else the camera-type inputs. */
export function directorChoices(all: Choice[]): Choice[] {
  for (const group of ['camera', 'live'] as const) {
    const some = all.filter((choice) => choice.group === group);
    if (some.length > 0) return some;
  }
  return all;
}

/**
 * The state of the chosen camera, which is named as in the address: camera name, then key, then number, then
 * title (a link written by hand may hold either of the last two).
 */
export function chosen(camera: string | null, message: TallyMessage | null, link: LinkState): Chosen {
  if (camera === null) {
    return { tally: believable(message, link) ? 'none' : 'unknown', name: null, found: true };
  }
  const all = choices(message, link);
  const input = message?.inputs.find(
    ({ number, title }) => String(number) === camera || title.toLowerCase() === camera.toLowerCase(),
  );
  const match =
    all.find(({ id }) => id === camera) ?? (input && all.find(({ id }) => id === inputId(input))) ?? null;
  if (match) return { tally: match.tally, name: match.name, found: true };
  return { tally: 'unknown', name: camera, found: message === null || !believable(message, link) };
}
