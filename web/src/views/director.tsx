/** All cameras at once, beside the picture: for whoever cuts or calls the show. */
import type { App } from '../app';
import { t } from '../i18n';
import { choices, directorChoices } from '../tally/tally';
import { useStore } from './hooks';
import { ShowFlags } from './status';
import { Marks } from './tally';
import { TALLY_SPOKEN, TALLY_WORD } from './words';

export function Director({ app }: { app: App }) {
  const state = useStore(app.link.state);
  const some = directorChoices(choices(useStore(app.link.tally), state));
  return (
    <section class="watch" id="director" aria-label={t('view_director')}>
      <ShowFlags app={app} />
      <ul class="tiles">
        {some.length === 0 && <li class="hint">{t('director_empty')}</li>}
        {some.map((choice) => (
          <li key={choice.id} class="tile" data-tally={choice.tally} data-camera={choice.id}>
            <span class="tile-name">{choice.name}</span>
            <span class="tile-word" aria-hidden="true">
              {t(TALLY_WORD[choice.tally])}
            </span>
            <span class="unseen">{t(TALLY_SPOKEN[choice.tally])}</span>
            <span class="tile-detail">{choice.detail}</span>
            <Marks tally={choice.tally} />
          </li>
        ))}
      </ul>
    </section>
  );
}
