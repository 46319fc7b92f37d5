import { randomInt } from 'node:crypto';
import type { Placed } from './crowd.js';

/** Heads of chains, at first. */
const HEADS_MIN = 64;
const NOBODY = -1;
/** Nobody can choose keys that all have the same hash. */
const SEED = randomInt(2 ** 31);

/**
 * Things that come and go by the thousand in a second, found by a key.
 *
 * For what a `Map` would do, but for the garbage collector: V8 chains the hash table of a `Map` that has had many additions and deletions to the table
 * that takes its place (`OrderedHashTable::Rehash`). Once one of them has become old, as it does while nobody asks for anything, every later
 * one survives the collections of the young generation, and so does all that it held. This is a plain hash table with chains in arrays, which are
 * used again.
 */
export class KeyedTable<T extends Placed> {
  readonly #keyOf: (item: T) => string;
  readonly #items: (T | undefined)[] = [];
  readonly #hashes: number[] = [];
  /** The next place with the same head, or `NOBODY`. */
  readonly #next: number[] = [];
  readonly #free: number[] = [];
  #heads = new Int32Array(HEADS_MIN).fill(NOBODY);

  constructor(keyOf: (item: T) => string) {
    this.#keyOf = keyOf;
  }

  get size(): number {
    return this.#items.length - this.#free.length;
  }

  get(key: string): T | undefined {
    const hash = hashOf(key);
    for (let place = this.#head(hash); place !== NOBODY; place = this.#next[place] as number) {
      const item = this.#items[place] as T;
      if (this.#hashes[place] === hash && this.#keyOf(item) === key) return item;
    }
    return undefined;
  }

  /** Of several with the same key, `get` finds the latest. */
  add(item: T): void {
    if (this.size === this.#heads.length) this.#grow();
    const hash = hashOf(this.#keyOf(item));
    const place = this.#free.pop() ?? this.#items.length;
    item.place = place;
    this.#items[place] = item;
    this.#hashes[place] = hash;
    this.#link(place, hash);
  }

  /** Is this very item there? */
  has(item: T): boolean {
    return this.#items[item.place] === item;
  }

  /** @returns whether it was there. */
  delete(item: T): boolean {
    if (!this.has(item)) return false;
    const { place } = item;
    this.#unlink(place);
    this.#items[place] = undefined;
    this.#free.push(place);
    return true;
  }

  /** Those that are there now, in no particular order. */
  all(): T[] {
    return this.#items.filter((item) => item !== undefined);
  }

  #head(hash: number): number {
    return this.#heads[hash & (this.#heads.length - 1)] as number;
  }

  #link(place: number, hash: number): void {
    this.#next[place] = this.#head(hash);
    this.#heads[hash & (this.#heads.length - 1)] = place;
  }

  #unlink(place: number): void {
    const next = this.#next[place] as number;
    const head = (this.#hashes[place] as number) & (this.#heads.length - 1);
    if (this.#heads[head] === place) {
      this.#heads[head] = next;
      return;
    }
    let before = this.#heads[head] as number;
    while (this.#next[before] !== place) before = this.#next[before] as number;
    this.#next[before] = next;
  }

  /** All places are taken now. */
  #grow(): void {
    this.#heads = new Int32Array(2 * this.#heads.length).fill(NOBODY);
    for (const [place, hash] of this.#hashes.entries()) this.#link(place, hash);
  }
}

/** FNV-1a, over UTF-16 units. */
function hashOf(key: string): number {
  let hash = 0x811c9dc5 ^ SEED;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  return (hash ^ (hash >>> 15)) & 0x3fffffff;
}
