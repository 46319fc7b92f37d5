/** Something that has a number. */
export interface Numbered {
  /** Written by what keeps it; 0 before. */
  number: number;
}

/** Places, at first. */
const PLACES_MIN = 64;

/**
 * Things that come and go by the thousand in a second. Each has a number, one more than the one before or, if that is taken by something
 * that has stayed for long, a few more; none is used twice.
 *
 * A `Map` would do, but for the garbage collector: V8 chains the hash table of a `Map` that has had many additions and deletions to the table that takes its
 * place (`OrderedHashTable::Rehash`). Once a garbage collection has moved one such table to the old generation, every table after it survives the
 * collections of the young one, and so does whatever it held: with 512 locks in flight, collecting garbage took most of a client's time.
 * This is a ring: the place of a thing is its number, less the rounds before.
 */
export class Ring<T extends Numbered> {
  #places: (T | undefined)[] = new Array(PLACES_MIN).fill(undefined);
  #next = 1;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Gives it the next number. */
  add(item: T): void {
    if (2 * this.#size >= this.#places.length) this.#grow();
    while (this.#places[this.#place(this.#next)] !== undefined) this.#next++;
    item.number = this.#next++;
    this.#places[this.#place(item.number)] = item;
    this.#size++;
  }

  get(number: number): T | undefined {
    const item = this.#places[this.#place(number)];
    return item?.number === number ? item : undefined;
  }

  /** @returns whether it was there. */
  delete(item: T): boolean {
    const place = this.#place(item.number);
    if (this.#places[place] !== item) return false;
    this.#places[place] = undefined;
    this.#size--;
    return true;
  }

  /** Those that are there now, in the order in which they came. */
  all(): T[] {
    return this.#places.filter((item) => item !== undefined).sort((a, b) => a.number - b.number);
  }

  #place(number: number): number {
    return number & (this.#places.length - 1);
  }

  #grow(): void {
    const items = this.all();
    this.#places = new Array(2 * this.#places.length).fill(undefined);
    for (const item of items) this.#places[this.#place(item.number)] = item;
  }
}
