/** Numbers of one slot are so far apart: more things than that are never there at once. */
const SLOTS_MAX = 2 ** 22;
/** How many numbers a slot has before it begins with the first again: as many as stay exact. */
const ROUNDS_MAX = 2 ** 53 / SLOTS_MAX - 1;

/**
 * Things that come and go by the thousand in a second, each found by a number of its own.
 *
 * A `Map` would do, but for the garbage collector: V8 chains the hash table of a `Map` that has had many additions and deletions to the table that takes its
 * place (`OrderedHashTable::Rehash`). Once a garbage collection has moved one such table to the old generation, every table after it survives the
 * collections of the young one, and so does whatever it held: with 512 locks in flight, collecting garbage took most of a client's time.
 */
export class Slots<T extends object> {
  readonly #items: (T | undefined)[] = [];
  /** Of each slot: the number of what it has or had last. */
  readonly #numbers: number[] = [];
  readonly #free: number[] = [];
  readonly #numberMax: number;

  constructor(rounds = ROUNDS_MAX) {
    this.#numberMax = rounds * SLOTS_MAX;
  }

  get size(): number {
    return this.#items.length - this.#free.length;
  }

  /** @returns its number, above 0, which nothing else has had for long. */
  add(item: T): number {
    const slot = this.#free.pop() ?? this.#items.length;
    const last = this.#numbers[slot] ?? this.#numberMax;
    const number = last + SLOTS_MAX > this.#numberMax ? slot + 1 : last + SLOTS_MAX;
    this.#items[slot] = item;
    this.#numbers[slot] = number;
    return number;
  }

  get(number: number): T | undefined {
    const slot = (number - 1) % SLOTS_MAX;
    return this.#numbers[slot] === number ? this.#items[slot] : undefined;
  }

  /** @returns whether it was there. */
  delete(number: number): boolean {
    if (this.get(number) === undefined) return false;
    const slot = (number - 1) % SLOTS_MAX;
    this.#items[slot] = undefined;
    this.#free.push(slot);
    return true;
  }

  /** Those that are there now, in no particular order. */
  all(): T[] {
    return this.#items.filter((item) => item !== undefined);
  }
}
