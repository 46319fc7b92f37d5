import { randomUUID } from 'node:crypto';
import { CacheStore, type Entry, type Removal } from './cache-store.js';
import type { Connection } from './connection.js';
import type { StafettError } from './errors.js';
import type { InvalidateRequest, Invalidation } from './gen/stafett/v1/cache.js';
import { InvalidationStream } from './invalidation-stream.js';

/** What to remove: a key, several, or all that begin with a prefix, have a tag, or are there. */
export type Invalidate =
  | string
  | readonly string[]
  | { readonly prefix: string | readonly string[] }
  | { readonly tags: string | readonly string[] }
  | { readonly all: true };

export interface SetOptions {
  /** Under which it can be invalidated besides its key. Default: what the cache's `tags` say. */
  readonly tags?: readonly string[];
  /** Sends the value along: the other nodes store it instead of loading it. It must then be something that JSON can hold. */
  readonly share?: boolean;
}

/** How often what happened, since the cache was created. */
export interface CacheStats {
  readonly hits: number;
  readonly misses: number;
  /** Misses although there was an entry: it could not be told whether that is still good. */
  readonly unconfirmed: number;
  readonly loads: number;
  readonly invalidations: number;
  /** The cache was cleared because invalidations may have been missed. */
  readonly resets: number;
}

export interface CacheSettings<V> {
  readonly name: string;
  readonly max: number;
  readonly ttlMs: number | undefined;
  readonly stalenessMs: number;
  readonly heartbeatMs: number;
  readonly load: (key: string) => Promise<V> | V;
  readonly tags: ((value: V, key: string) => readonly string[]) | undefined;
  /** Told when it is closed. */
  onClose(): void;
}

/** A cache in this process that hears of what other nodes change. Made by `caches.create`. */
export class Cache<V> {
  readonly name: string;
  readonly #connection: Connection;
  readonly #settings: CacheSettings<V>;
  readonly #store: CacheStore<V>;
  readonly #stream: InvalidationStream;
  readonly #origin = randomUUID();
  readonly #stats = { hits: 0, misses: 0, unconfirmed: 0, loads: 0, invalidations: 0, resets: 0 };

  /** @internal */
  constructor(connection: Connection, settings: CacheSettings<V>) {
    this.name = settings.name;
    this.#connection = connection;
    this.#settings = settings;
    this.#store = new CacheStore(settings);
    this.#stream = new InvalidationStream(connection, settings.name, settings.heartbeatMs, {
      onReset: () => this.#onReset(),
      onInvalidation: (invalidation) => this.#onInvalidation(invalidation),
    });
  }

  /**
   * The value of a key: the entry if there is one that is certain to be no older than the `staleness`, else what `load` brings. Several who ask at
   * the same time share one load.
   * @throws what `load` throws; nothing is stored then.
   */
  async get(key: string): Promise<V> {
    const entry = this.#store.get(key);
    if (entry && this.isConfirmed) {
      this.#stats.hits++;
      return entry.value;
    }
    this.#stats.misses++;
    if (entry) this.#stats.unconfirmed++;
    const joinSince = this.isConfirmed ? Number.NEGATIVE_INFINITY : performance.now() - this.#settings.stalenessMs;
    return this.#store.load(key, () => this.#load(key), joinSince);
  }

  /** The entry if there is one that may be used, without loading. */
  peek(key: string): V | undefined {
    return this.isConfirmed ? this.#store.get(key)?.value : undefined;
  }

  /**
   * Stores a new value here and removes it everywhere else, or stores it there, too. Change the source before. Resolves when the others hear of it.
   * @throws {StafettError} CONNECTION_FAILED: others may still have the old value, for no longer than its `ttl`; it is removed here.
   */
  async set(key: string, value: V, { tags = this.#tagsOf(value, key), share = false }: SetOptions = {}): Promise<void> {
    const requestId = randomUUID();
    const shared = share ? { value: toJson(value), valueTags: [...tags] } : {};
    this.#store.put(key, { value, tags, requestId });
    try {
      await this.#send({ keys: [key], prefixes: [], tags: [], all: false }, requestId, shared);
    } catch (error) {
      this.#store.remove({ keys: [key], prefixes: [], tags: [], all: false });
      throw error;
    }
  }

  /**
   * Removes entries here, at once, and on all other nodes. Change the source before. What is being loaded meanwhile is not stored.
   * Resolves when the others hear of it.
   * @throws {StafettError} CONNECTION_FAILED: others may still have the old entries. Ask again.
   * @example await customers.invalidate({ prefix: 'case/42/' });
   */
  async invalidate(what: Invalidate): Promise<void> {
    const removal = toRemoval(what);
    this.#store.remove(removal);
    await this.#send(removal, randomUUID());
  }

  /** True: no invalidation older than the `staleness` can have been missed, so that entries are used. */
  get isConfirmed(): boolean {
    return performance.now() - this.#stream.confirmedAt <= this.#settings.stalenessMs;
  }

  /** Why the servers do not tell of invalidations, if they refuse. */
  get error(): StafettError | undefined {
    return this.#stream.error;
  }

  get size(): number {
    return this.#store.size;
  }

  get stats(): CacheStats {
    return { ...this.#stats };
  }

  /** @internal Removes entries here alone. @returns how many. */
  removeHere(removal: Removal): number {
    const before = this.#store.size;
    this.#store.remove(removal);
    return before - this.#store.size;
  }

  /** @internal */
  get loading(): number {
    return this.#store.loading;
  }

  /** @internal */
  get settings(): Pick<CacheSettings<V>, 'max' | 'ttlMs' | 'stalenessMs'> {
    return this.#settings;
  }

  /** @internal */
  entries(prefix: string): ReturnType<CacheStore<V>['list']> {
    return this.#store.list(prefix);
  }

  /** Forgets everything and hears of nothing any more; `get` goes on to load. */
  close(): void {
    this.#stream.close();
    this.#store.clear();
    this.#settings.onClose();
  }

  async #load(key: string): Promise<Entry<V>> {
    this.#stats.loads++;
    const value = await this.#settings.load(key);
    return { value, tags: this.#tagsOf(value, key), requestId: '' };
  }

  #tagsOf(value: V, key: string): readonly string[] {
    return this.#settings.tags?.(value, key) ?? [];
  }

  async #send(removal: Removal, requestId: string, shared: Pick<Partial<InvalidateRequest>, 'value' | 'valueTags'> = {}): Promise<void> {
    const request = { cache: this.name, ...removal, value: undefined, valueTags: [], origin: this.#origin, requestId, ...shared };
    await this.#connection.call((link, signal) => link.caches.invalidate(request, { signal }));
  }

  #onReset(): void {
    this.#stats.resets++;
    this.#store.clear();
  }

  #onInvalidation(invalidation: Invalidation): void {
    this.#stats.invalidations++;
    const { keys, value, valueTags, requestId, origin } = invalidation;
    const [key] = keys;
    // Our own news of what we have stored; if it is not there any more, something later has been told, or will be.
    if (origin === this.#origin && key !== undefined && this.#store.get(key)?.requestId === requestId) return;
    this.#store.remove(invalidation);
    if (value !== undefined && key !== undefined) this.#store.put(key, { value: JSON.parse(value) as V, tags: valueTags, requestId });
  }
}

function toRemoval(what: Invalidate): Removal {
  const nothing = { keys: [], prefixes: [], tags: [], all: false };
  if (typeof what === 'string' || Array.isArray(what)) return { ...nothing, keys: [what].flat() as string[] };
  if ('prefix' in what) return { ...nothing, prefixes: [what.prefix].flat() as string[] };
  if ('tags' in what) return { ...nothing, tags: [what.tags].flat() as string[] };
  if ('all' in what && what.all === true) return { ...nothing, all: true };
  throw new TypeError('invalidate: takes a key, several keys, { prefix }, { tags } or { all: true }');
}

function toJson(value: unknown): string {
  const json = JSON.stringify(value) as string | undefined;
  if (json === undefined) throw new TypeError('value: must be something that JSON can hold, to be shared');
  return json;
}
