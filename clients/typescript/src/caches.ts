import { Cache } from './cache.js';
import type { Connection } from './connection.js';
import { type DurationLike, toMs } from './durations.js';

export interface CacheOptions<V> {
  /** Entries at the most; the one that was used least lately goes first. */
  readonly max: number;
  /** How long an entry is kept at the most. Default: until it is invalidated. */
  readonly ttl?: DurationLike;
  /** Reads a value from where it comes from. */
  readonly load: (key: string) => Promise<V> | V;
  /** Under which an entry can be invalidated besides its key. */
  readonly tags?: (value: V, key: string) => readonly string[];
  /**
   * How old, at the most, a value may be that `get` answers from the cache: after an invalidation was confirmed to the one who made it, nobody gets
   * the old value for longer than this, whatever breaks. While no server confirms, entries are not used once it is over. Default 5 s, at least 500 ms.
   */
  readonly staleness?: DurationLike;
}

const STALENESS_MS = 5_000;
const STALENESS_MS_MIN = 500;
/** Confirmations in one staleness, and their distance at the most, ms. */
const CONFIRMATIONS = 4;
const HEARTBEAT_MS_MAX = 1_000;

/** Caches that hear of each other's changes. */
export class Caches {
  readonly #connection: Connection;
  readonly #open = new Set<Cache<unknown>>();

  /** @internal */
  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /**
   * A cache in this process. Those of the same name, in all processes of the namespace, hear of each other's invalidations.
   * @throws {TypeError} for an option that is wrong, naming it.
   * @example
   * const customers = stafett.caches.create('customers', { max: 10_000, ttl: '10m', load: (id) => db.readCustomer(id) });
   * await customers.get('42');
   * await db.updateCustomer('42', changes);
   * await customers.invalidate('42'); // everywhere
   */
  create<V>(name: string, options: CacheOptions<V>): Cache<V> {
    const { max, ttl, load, tags, staleness = STALENESS_MS } = options;
    if (!Number.isSafeInteger(max) || max < 1) throw new TypeError(`max: ${max}; must be a whole number above 0`);
    if (typeof load !== 'function') throw new TypeError('load: must be a function');
    if (name === '' || name.includes('*') || Buffer.byteLength(name) > 200) throw new TypeError('name: must be 1 to 200 bytes, without *');
    const stalenessMs = toMs(staleness, 'staleness');
    if (stalenessMs < STALENESS_MS_MIN) throw new TypeError(`staleness: ${stalenessMs} ms; must be at least ${STALENESS_MS_MIN} ms`);
    const heartbeatMs = Math.min(HEARTBEAT_MS_MAX, stalenessMs / CONFIRMATIONS);
    const ttlMs = ttl === undefined ? undefined : toMs(ttl, 'ttl');
    const onClose = () => this.#open.delete(cache as Cache<unknown>);
    const cache: Cache<V> = new Cache(this.#connection, { name, max, ttlMs, stalenessMs, heartbeatMs, load, tags, onClose });
    this.#open.add(cache as Cache<unknown>);
    return cache;
  }

  /** @internal Those that are not closed. */
  get open(): Iterable<Cache<unknown>> {
    return this.#open;
  }
}
