import { LRUCache } from 'lru-cache';
import type { Invalidation } from './gen/stafett/v1/cache.js';

/** What is stored under a key. */
export interface Entry<V> {
  readonly value: V;
  readonly tags: readonly string[];
  /** The request that told others of it; '' if it was loaded. */
  readonly requestId: string;
}

interface Flight<V> {
  readonly startedAt: number;
  promise: Promise<V>;
  /** Nothing was invalidated meanwhile that may concern it: what it brings may be stored. */
  valid: boolean;
}

/** What to remove, as far as it concerns a cache. */
export type Removal = Pick<Invalidation, 'keys' | 'prefixes' | 'tags' | 'all'>;

/** The entries of a cache, and the loads that are under way. */
export class CacheStore<V> {
  readonly #entries: LRUCache<string, Entry<V>>;
  readonly #flights = new Map<string, Flight<V>>();

  constructor({ max, ttlMs }: { readonly max: number; readonly ttlMs: number | undefined }) {
    this.#entries = new LRUCache<string, Entry<V>>({ max, ...(ttlMs !== undefined && { ttl: ttlMs, ttlResolution: 0 }) });
  }

  get size(): number {
    return this.#entries.size;
  }

  get loading(): number {
    return this.#flights.size;
  }

  /** The entries below a prefix, those that were used last first; looking at them does not count as use. */
  *list(prefix: string): Generator<{ readonly key: string; readonly tags: readonly string[]; readonly ttlLeftMs: number | undefined }> {
    for (const [key, { tags }] of this.#entries.entries()) {
      const left = this.#entries.getRemainingTTL(key);
      if (key.startsWith(prefix)) yield { key, tags, ttlLeftMs: Number.isFinite(left) ? Math.round(left) : undefined };
    }
  }

  get(key: string): Entry<V> | undefined {
    return this.#entries.get(key);
  }

  /** Stores a value that is newer than what is being loaded. */
  put(key: string, entry: Entry<V>): void {
    this.#discard(key);
    this.#entries.set(key, entry);
  }

  /**
   * Loads, or joins the load that is under way. What comes is stored, unless it was invalidated meanwhile.
   * @param joinSince a load that began earlier, on the monotonic clock, is too old to be joined.
   */
  load(key: string, loader: () => Promise<Entry<V>> | Entry<V>, joinSince: number): Promise<V> {
    const before = this.#flights.get(key);
    if (before && before.startedAt >= joinSince) return before.promise;
    if (before) before.valid = false;
    const flight: Flight<V> = { startedAt: performance.now(), promise: undefined as never, valid: true };
    this.#flights.set(key, flight);
    flight.promise = this.#fly(key, flight, loader);
    return flight.promise;
  }

  /** Removes, and sees to it that what is under way is not stored: it may have been read before. */
  remove({ keys, prefixes, tags, all }: Removal): void {
    if (all) return this.clear();
    for (const key of keys) this.#delete(key);
    if (prefixes.length === 0 && tags.length === 0) return;
    const concerns = (key: string) => prefixes.some((prefix) => key.startsWith(prefix));
    for (const [key, entry] of [...this.#entries.entries()]) {
      if (concerns(key) || tags.some((tag) => entry.tags.includes(tag))) this.#delete(key);
    }
    // Nobody knows yet what tags they will have.
    for (const key of [...this.#flights.keys()]) if (tags.length > 0 || concerns(key)) this.#discard(key);
  }

  clear(): void {
    this.#entries.clear();
    for (const key of [...this.#flights.keys()]) this.#discard(key);
  }

  async #fly(key: string, flight: Flight<V>, loader: () => Promise<Entry<V>> | Entry<V>): Promise<V> {
    await undefined; // it is known before the loader runs
    try {
      const entry = await loader();
      if (flight.valid) this.#entries.set(key, entry);
      return entry.value;
    } finally {
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    }
  }

  #delete(key: string): void {
    this.#discard(key);
    this.#entries.delete(key);
  }

  /** Those who wait for it get it all the same: they asked before. Nobody joins it any more. */
  #discard(key: string): void {
    const flight = this.#flights.get(key);
    if (!flight) return;
    flight.valid = false;
    this.#flights.delete(key);
  }
}
