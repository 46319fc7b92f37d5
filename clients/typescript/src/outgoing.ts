export interface OutgoingOptions<T> {
  /** Items in one batch. */
  readonly itemsMax: number;
  /** Weight of one batch; an item that is heavier goes alone. */
  readonly weightMax: number;
  weigh(item: T): number;
}

/** Items on their way into a stream: all that are there when the stream takes more go together, as far as the limits allow. */
export class Outgoing<T> {
  readonly #options: OutgoingOptions<T>;
  #items: T[] = [];
  #wake: (() => void) | undefined;
  #ended = false;

  constructor(options: OutgoingOptions<T>) {
    this.#options = options;
  }

  push(item: T): void {
    this.#items.push(item);
    this.#notify();
  }

  end(): void {
    this.#ended = true;
    this.#notify();
  }

  /** For the one who writes them into the stream; whoever asks for the next batch has room for it. */
  async *batches(): AsyncGenerator<T[]> {
    while (!this.#ended) {
      if (this.#items.length > 0) yield this.#take();
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  /**
   * Instead of `batches`: gives each batch to `write`, which tells whether there is room for more.
   * @returns what is to be called when there is room again.
   */
  pourInto(write: (items: T[]) => boolean): () => void {
    let hasRoom = true;
    const pour = () => {
      while (hasRoom && this.#items.length > 0 && !this.#ended) hasRoom = write(this.#take());
      if (hasRoom) this.#wake = pour;
    };
    pour();
    return () => {
      hasRoom = true;
      pour();
    };
  }

  #take(): T[] {
    const { itemsMax, weightMax, weigh } = this.#options;
    const items = this.#items;
    let count = 0;
    for (let weight = 0; count < items.length && count < itemsMax; count++) {
      weight += weigh(items[count] as T);
      if (weight > weightMax && count > 0) break;
    }
    if (count < items.length) return items.splice(0, count);
    this.#items = [];
    return items;
  }

  /** After the microtasks of this tick: what several tasks ask for now travels together. */
  #notify(): void {
    const wake = this.#wake;
    if (!wake) return;
    this.#wake = undefined;
    process.nextTick(wake);
  }
}
