/** The whole screen as a tally lamp, for a phone on a camera. Nothing else in sight until it is touched. */
import type { App } from '../app';
import { t } from '../i18n';
import type { Chosen } from '../tally/tally';
import { useStore } from './hooks';
import { Marks } from './tally';
import { TALLY_WORD } from './words';

/** Roughly how wide a word is in the heaviest weight, in ems: Hangul is set on a square, capitals are not. */
export function emsOf(word: string): number {
  return [...word].reduce((sum, letter) => sum + (letter > '\u1100' && letter !== '–' ? 0.98 : 0.8), 0);
}

/** The word in one line, or on a tall screen each part in a line of its own. */
function LampWord({ word }: { word: string }) {
  const parts = word.split(' ');
  const widest = Math.max(1.2, ...parts.map(emsOf));
  return (
    <span class="lamp-word" style={{ '--whole': Math.max(1.2, emsOf(word)), '--part': widest }}>
      {parts.map((part, i) => (
        <span key={part}>
          {i > 0 && ' '}
          {part}
        </span>
      ))}
    </span>
  );
}

export function Lamp({ app, now, quiet }: { app: App; now: Chosen; quiet: boolean }) {
  const kept = useStore(app.keeper.held);
  return (
    <div class="lamp-screen" id="lamp" data-tally={now.tally}>
      <span class="lamp-name">{now.name ?? t('tally_none_chosen')}</span>
      {now.tally !== 'none' && <LampWord word={t(TALLY_WORD[now.tally])} />}
      <Marks tally={now.tally} />
      {!now.found && <span class="lamp-note">{t('tally_not_found')}</span>}
      {!quiet && !kept && !app.keeper.supported && <span class="lamp-note">{t('lamp_no_wake')}</span>}
    </div>
  );
}
