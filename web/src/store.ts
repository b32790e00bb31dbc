/** A value that can be read at any time and tells its subscribers when it is replaced. Knows no framework. */
export class Store<T> {
  #value: T;
  readonly #subscribers = new Set<(value: T) => void>();

  constructor(value: T) {
    this.#value = value;
  }

  get(): T {
    return this.#value;
  }

  set(value: T): void {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    for (const tell of [...this.#subscribers]) tell(value);
  }

  /** Calls `tell` on every later change, until the returned function is called. */
  subscribe(tell: (value: T) => void): () => void {
    this.#subscribers.add(tell);
    return () => this.#subscribers.delete(tell);
  }
}
