/** Something that knows where it is kept. */
export interface Placed {
  /** Written by what keeps it. */
  place: number;
}

/** Things that come and go by the thousand in a second, in no order. For what a `Set` would do, but for the garbage collector (see `KeyedTable`). */
export class Crowd<T extends Placed> {
  readonly #items: T[] = [];

  get size(): number {
    return this.#items.length;
  }

  add(item: T): void {
    item.place = this.#items.push(item) - 1;
  }

  /** @returns whether it was there. */
  delete(item: T): boolean {
    if (this.#items[item.place] !== item) return false;
    const last = this.#items.pop() as T;
    if (last === item) return true;
    last.place = item.place;
    this.#items[last.place] = last;
    return true;
  }

  /** Those that are there now. */
  all(): T[] {
    return [...this.#items];
  }
}
