/** Lets so many in at once; the others wait, and come in by the order in which they came. */
export class Gate {
  readonly #max: number;
  readonly #waiting = new Set<() => void>();
  #inside = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** Resolves when it is in, with what lets it out again. @throws the reason of the signal, when that is aborted before. */
  async enter(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#inside < this.#max) this.#inside++;
    else await this.#wait(signal); // whoever goes out lets it in
    let out = false;
    return () => {
      if (!out) this.#leave();
      out = true;
    };
  }

  #wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#waiting.delete(onTurn);
        reject(signal.reason);
      };
      const onTurn = () => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#waiting.add(onTurn);
    });
  }

  #leave(): void {
    const [next] = this.#waiting;
    if (!next) {
      this.#inside--;
      return;
    }
    this.#waiting.delete(next);
    next();
  }
}
