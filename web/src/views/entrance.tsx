/** What stands in the page's place while the box does not let it watch. */
import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import type { Door } from '../door/door';
import { t } from '../i18n';
import { usePolled, useStore } from './hooks';

export function Entrance({ door, children }: { door: Door; children: ComponentChildren }) {
  const closed = useStore(door.closed);
  if (closed === null) return <>{children}</>;
  return (
    <main class="entrance">
      <h1>{t(closed.pin ? 'door_pin' : 'door_link')}</h1>
      {closed.ended && <p id="link-ended">{t('door_ended')}</p>}
      {closed.pin && <Pin door={door} />}
      <p class="ask">{t('door_ask')}</p>
    </main>
  );
}

function Pin({ door }: { door: Door }) {
  const [pin, setPin] = useState('');
  const [busy, setBusy] = useState(false);
  const trouble = useStore(door.trouble);
  const left = usePolled(
    () => (trouble?.kind === 'locked' ? Math.ceil((trouble.until - performance.now()) / 1000) : 0),
    250,
  );
  const enter = async (given: string) => {
    setBusy(true);
    await door.enter(given);
    setBusy(false);
    setPin('');
  };
  const words = () => {
    if (trouble === null || busy) return '';
    if (trouble.kind === 'locked') return left > 0 ? t('door_locked', { s: left }) : '';
    return t(trouble.kind === 'wrong' ? 'door_wrong' : 'door_failed');
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (pin.length === 6 && !busy && left <= 0) void enter(pin);
      }}
    >
      <input
        id="pin"
        class="pin"
        type="text"
        inputMode="numeric"
        autocomplete="one-time-code"
        pattern="[0-9]*"
        maxLength={6}
        aria-label={t('door_pin')}
        disabled={busy || left > 0}
        value={pin}
        onInput={(event) => setPin(event.currentTarget.value.replace(/\D/g, ''))}
      />
      <button type="submit" id="enter" disabled={pin.length !== 6 || busy || left > 0}>
        {t('door_enter')}
      </button>
      <p role="alert" id="door-trouble">
        {words()}
      </p>
    </form>
  );
}
