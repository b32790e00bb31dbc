/** A panel over the page: closes by its button, by Escape and by a touch outside, and gives the focus back. */
import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { t } from '../i18n';
import { Control } from './icons';

export function Panel(props: { title: string; onClose: () => void; children: ComponentChildren }) {
  const box = useRef<HTMLDivElement>(null);
  const close = useRef(props.onClose);
  close.current = props.onClose;
  useEffect(() => {
    const before = document.activeElement;
    box.current?.focus();
    const onKey = (event: KeyboardEvent) => {
      if (event.key === 'Escape') close.current();
      if (event.key === 'Tab') keepInside(event, box.current);
    };
    addEventListener('keydown', onKey);
    return () => {
      removeEventListener('keydown', onKey);
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions lint/a11y/useKeyWithClickEvents: Escape and the button close it as well
    <div class="scrim" onClick={(event) => event.target === event.currentTarget && props.onClose()}>
      <div class="panel" role="dialog" aria-modal="true" aria-label={props.title} tabIndex={-1} ref={box}>
        <header>
          <h2>{props.title}</h2>
          <Control icon="close" label={t('close')} onClick={props.onClose} />
        </header>
        <div class="panel-body">{props.children}</div>
      </div>
    </div>
  );
}

function keepInside(event: KeyboardEvent, box: HTMLElement | null): void {
  const controls = [...(box?.querySelectorAll<HTMLElement>('button, input, a[href]') ?? [])];
  const [first, last] = [controls[0], controls[controls.length - 1]];
  const at = document.activeElement;
  const leaving = event.shiftKey ? at === first || at === box : at === last;
  if (!leaving) return;
  event.preventDefault();
  (event.shiftKey ? last : first)?.focus();
}
