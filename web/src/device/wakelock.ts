/**
 * Keeps the screen on where the browser allows it (HTTPS only). The browser takes the lock away whenever the page is
 * hidden, so it is asked for again each time the page comes back, and at a tap, which some browsers insist on.
 */
import { Store } from '../store';

export class ScreenKeeper {
  readonly held = new Store(false);
  #wanted = false;
  #asking = false;

  start(): void {
    this.#wanted = true;
    document.addEventListener('visibilitychange', () => this.ask());
    document.addEventListener('pointerup', () => this.ask());
    this.ask();
  }

  get supported(): boolean {
    return 'wakeLock' in navigator && navigator.wakeLock !== undefined;
  }

  ask(): void {
    if (!this.#wanted || !this.supported || this.held.get() || this.#asking) return;
    if (document.visibilityState !== 'visible') return;
    this.#asking = true;
    navigator.wakeLock
      .request('screen')
      .then((lock) => {
        this.held.set(true);
        lock.addEventListener('release', () => this.held.set(false));
      })
      .catch(() => {
        // Battery saver, or no tap yet: the next tap asks again.
      })
      .finally(() => {
        this.#asking = false;
      });
  }
}
