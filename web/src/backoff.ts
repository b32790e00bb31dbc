/** Delays between attempts: doubling from `first` to `cap` milliseconds, each jittered down to no less than half. */
export class Backoff {
  readonly #first: number;
  readonly #cap: number;
  readonly #random: () => number;
  #attempt = 0;

  constructor(first: number, cap: number, random: () => number) {
    this.#first = first;
    this.#cap = cap;
    this.#random = random;
  }

  next(): number {
    const full = Math.min(this.#cap, this.#first * 2 ** this.#attempt);
    this.#attempt = Math.min(this.#attempt + 1, 30);
    return full * (0.5 + this.#random() / 2);
  }

  reset(): void {
    this.#attempt = 0;
  }
}
