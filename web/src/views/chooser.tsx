/** Choosing the camera whose tally is shown, and the stream that is watched. */
import { shortName } from '../address';
import type { App } from '../app';
import { type Key, t } from '../i18n';
import { type Choice, choices } from '../tally/tally';
import { useStore } from './hooks';
import { Panel } from './panel';
import { Marks } from './tally';
import { TALLY_SPOKEN } from './words';

const GROUPS: [Choice['group'], Key][] = [
  ['camera', 'choose_cameras'],
  ['live', 'choose_inputs'],
  ['other', 'choose_others'],
];

export function Chooser({ app, onClose }: { app: App; onClose: () => void }) {
  const place = useStore(app.place);
  const state = useStore(app.link.state);
  const all = choices(useStore(app.link.tally), state);
  const streams = useStore(app.link.streams) ?? [];
  const pick = (camera: string | null) => {
    app.go({ camera });
    onClose();
  };
  return (
    <Panel title={t('choose_title')} onClose={onClose}>
      {all.length === 0 && <p class="hint">{t('choose_empty')}</p>}
      {GROUPS.map(([group, title]) => {
        const some = all.filter((choice) => choice.group === group);
        return (
          some.length > 0 && (
            <section key={group}>
              <h3>{t(title)}</h3>
              <div class="choices">
                {some.map((choice) => (
                  <button
                    type="button"
                    key={choice.id}
                    class="choice"
                    data-tally={choice.tally}
                    aria-pressed={choice.id === place.camera}
                    onClick={() => pick(choice.id)}
                  >
                    <span class="choice-name">{choice.name}</span>
                    <span class="choice-detail">{choice.detail}</span>
                    <Marks tally={choice.tally} />
                    <span class="unseen">{t(TALLY_SPOKEN[choice.tally])}</span>
                  </button>
                ))}
              </div>
            </section>
          )
        );
      })}
      {place.camera !== null && (
        <button type="button" class="plain" onClick={() => pick(null)}>
          {t('choose_none')}
        </button>
      )}
      {streams.length > 0 && (
        <section>
          <h3>{t('choose_streams')}</h3>
          <div class="choices">
            {streams.map((stream) => (
              <button
                type="button"
                key={stream.name}
                class="choice"
                aria-pressed={shortName(stream.name) === place.stream}
                onClick={() => {
                  app.go({ stream: shortName(stream.name) });
                  onClose();
                }}
              >
                <span class="choice-name">{shortName(stream.name)}</span>
                <span class="choice-detail">
                  {stream.live ? `${t('stream_live')} · ${stream.width}×${stream.height}` : t('stream_off')}
                </span>
              </button>
            ))}
          </div>
        </section>
      )}
    </Panel>
  );
}
