/** Items on their way into a stream: all that are there when the stream takes more go together. */
export class Outgoing<T> {
  #items: T[] = [];
  #wake: (() => void) | undefined;
  #ended = false;

  constructor(private readonly max: number) {}

  push(item: T): void {
    this.#items.push(item);
    this.#notify();
  }

  end(): void {
    this.#ended = true;
    this.#notify();
  }

  async *batches(): AsyncGenerator<T[]> {
    while (true) {
      if (this.#items.length > this.max) yield this.#items.splice(0, this.max);
      else if (this.#items.length > 0) {
        const items = this.#items;
        this.#items = [];
        yield items;
      } else if (this.#ended) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  /** After the microtasks of this tick: what several tasks ask for now travels together. */
  #notify(): void {
    const wake = this.#wake;
    if (!wake) return;
    this.#wake = undefined;
    process.nextTick(wake);
  }
}
