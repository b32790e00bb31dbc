/**
 * The tally of the chosen camera. Four signs say the same: colour, the pattern of the frame, the word, and which of
 * the three marks is lit. Unknown lights none and is hatched.
 */
import { t } from '../i18n';
import type { Shown } from '../tally/tally';
import { TALLY_SPOKEN, TALLY_WORD } from './words';

const ORDER = ['program', 'preview', 'safe'] as const;

/** Three marks in fixed places: left is on air, middle is next, right is neither. */
export function Marks({ tally }: { tally: Shown }) {
  return (
    <span class="marks" aria-hidden="true">
      {ORDER.map((one) => (
        <i key={one} class={one === tally ? `mark lit ${one}` : 'mark'} />
      ))}
    </span>
  );
}

export function TallyWord({ tally }: { tally: Shown }) {
  return (
    <div class="tally-word" data-tally={tally} aria-hidden="true">
      <span class="word">{t(TALLY_WORD[tally])}</span>
      <Marks tally={tally} />
    </div>
  );
}

/** The frame lies over the picture and takes no touches. */
export function TallyFrame({ tally }: { tally: Shown }) {
  return <div class="tally-frame" data-tally={tally} aria-hidden="true" />;
}

/** Said aloud by a screen reader whenever it changes. */
export function TallySpoken({ tally, name }: { tally: Shown; name: string | null }) {
  return (
    <div class="unseen" role="status" aria-live="assertive" aria-atomic="true">
      {name === null ? t('tally_none_chosen') : `${name}: ${t(TALLY_SPOKEN[tally])}`}
    </div>
  );
}
