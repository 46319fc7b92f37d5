/** What is told to one reader who only cares for the latest: what it has not read yet is replaced, so that nothing ever piles up. */
export class Latest<T> {
  #next: T | undefined;
  #ended = false;
  #failure: Error | undefined;
  #wake: () => void = () => {};

  get ended(): boolean {
    return this.#ended;
  }

  push(value: T): void {
    this.#next = value;
    this.#wake();
  }

  /** What was pushed last is read before. */
  end(failure?: Error): void {
    this.#failure ??= failure;
    this.#ended = true;
    this.#wake();
  }

  async *values(): AsyncGenerator<T> {
    while (true) {
      const value = this.#next;
      this.#next = undefined;
      if (value !== undefined) yield value;
      else if (this.#failure) throw this.#failure;
      else if (this.#ended) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}
