/** The address of where the user is, to be handed out: as text and as a QR code drawn here. */
import { generate } from 'lean-qr/nano';
import { useMemo, useState } from 'preact/hooks';
import type { App } from '../app';
import { t } from '../i18n';
import { useStore } from './hooks';
import { Panel } from './panel';

/** One path of the dark modules, row by row, in runs. */
export function qrPath(text: string): { path: string; size: number } {
  const code = generate(text);
  let path = '';
  for (let y = 0; y < code.size; y += 1) {
    for (let x = 0; x < code.size; x += 1) {
      if (!code.get(x, y)) continue;
      const from = x;
      while (code.get(x + 1, y)) x += 1;
      path += `M${from} ${y}h${x - from + 1}v1H${from}z`;
    }
  }
  return { path, size: code.size };
}

export function Share({ app, onClose }: { app: App; onClose: () => void }) {
  useStore(app.place);
  useStore(app.link.hello);
  const [copied, setCopied] = useState(false);
  const url = app.shared();
  const { path, size } = useMemo(() => qrPath(url), [url]);
  return (
    <Panel title={t('share_title')} onClose={onClose}>
      <svg class="qr" viewBox={`-4 -4 ${size + 8} ${size + 8}`} role="img" aria-label={t('share_qr')}>
        <rect x="-4" y="-4" width={size + 8} height={size + 8} fill="#fff" />
        <path d={path} fill="#000" shape-rendering="crispEdges" />
      </svg>
      <div class="copy">
        <input
          id="share-url"
          readOnly
          value={url}
          aria-label={t('share_title')}
          onFocus={(event) => event.currentTarget.select()}
        />
        {/* The clipboard is there on HTTPS only; elsewhere the selected text has to do. */}
        {navigator.clipboard && (
          <button
            type="button"
            class="plain"
            onClick={() =>
              navigator.clipboard.writeText(url).then(
                () => setCopied(true),
                () => {},
              )
            }
          >
            {t(copied ? 'copied' : 'copy')}
          </button>
        )}
      </div>
      <p class="hint">{t('share_hint')}</p>
    </Panel>
  );
}
