/** How views follow the framework-free half of the page. */
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Store } from '../store';

/** The store's value, and a new rendering whenever it changes. */
export function useStore<T>(store: Store<T>): T {
  const [, render] = useState({});
  useLayoutEffect(() => {
    render({});
    return store.subscribe(() => render({}));
  }, [store]);
  return store.get();
}

/** A reading taken again every `ms` milliseconds. */
export function usePolled<T>(read: () => T, ms: number): T {
  const [value, set] = useState(read);
  const latest = useRef(read);
  latest.current = read;
  useEffect(() => {
    const timer = setInterval(() => set(latest.current()), ms);
    return () => clearInterval(timer);
  }, [ms]);
  return value;
}

/** True while nobody touches the page for `ms` milliseconds. A focused control counts as touched. */
export function useIdle(ms: number): boolean {
  const [idle, setIdle] = useState(false);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout>;
    const touch = () => {
      clearTimeout(timer);
      setIdle(false);
      timer = setTimeout(() => setIdle(true), ms);
    };
    const events = ['pointermove', 'pointerdown', 'keydown', 'focusin'] as const;
    for (const event of events) addEventListener(event, touch, { passive: true });
    touch();
    return () => {
      clearTimeout(timer);
      for (const event of events) removeEventListener(event, touch);
    };
  }, [ms]);
  return idle;
}
