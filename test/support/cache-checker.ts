import { setTimeout as sleep } from 'node:timers/promises';
import type { Cache, Stafett } from '../../clients/typescript/src/index.js';
import type { Rng } from './rng.js';

/** A read that should not have been. */
export interface StaleRead {
  readonly key: string;
  readonly got: number;
  /** What was confirmed to be invalidated so long before the read began, ms. */
  readonly expected: number;
  readonly ageMs: number;
}

const KEYS = Array.from({ length: 12 }, (_, i) => `key-${i}`);
const LOAD_MS_MAX = 40;

/**
 * Writes, invalidates and reads through the caches of several nodes at random, with a source whose versions only grow. A read that begins so
 * long after an invalidation was confirmed must not bring what was there before.
 */
export class CacheChecker {
  readonly stale: StaleRead[] = [];
  /** As long as it does not resolve, what was read does not arrive. */
  hold: Promise<void> = Promise.resolve();
  reads = 0;
  writes = 0;
  /** Invalidations that failed, of which nothing is promised. */
  failed = 0;
  readonly #source = new Map<string, number>();
  /** For each key: the versions whose invalidation was confirmed, and when. */
  readonly #confirmed = new Map<string, { version: number; at: number }[]>();
  readonly #boundMs: number;
  readonly #rng: Rng;
  #running = true;

  constructor(boundMs: number, rng: Rng) {
    this.#boundMs = boundMs;
    this.#rng = rng;
  }

  cacheOf(node: Stafett): Cache<number> {
    return node.caches.create('checked', {
      max: 100,
      staleness: this.#boundMs,
      load: (key) => this.#load(key),
      tags: (_, key) => [`tag-${key}`],
    });
  }

  /** Reads and writes at random until `stop`. Resolves when all has come to its end. */
  async run(caches: readonly Cache<number>[]): Promise<void> {
    const readers = caches.flatMap((cache) => [this.#read(cache), this.#read(cache)]);
    const writers = caches.map((cache) => this.#write(cache));
    await Promise.all([...readers, ...writers]);
  }

  stop(): void {
    this.#running = false;
  }

  /** Changes the source, then says so. */
  async change(cache: Cache<number>, key: string): Promise<void> {
    const version = (this.#source.get(key) ?? 0) + 1;
    this.#source.set(key, version);
    this.writes++;
    try {
      await cache.invalidate(this.#rng.pick([key, key, key, [key], { prefix: key }, { tags: `tag-${key}` }, { all: true }]));
    } catch {
      this.failed++;
      return;
    }
    const confirmed = this.#confirmed.get(key) ?? [];
    this.#confirmed.set(key, confirmed);
    confirmed.push({ version, at: performance.now() });
  }

  async readOnce(cache: Cache<number>, key: string): Promise<void> {
    const begunAt = performance.now();
    const got = await cache.get(key);
    this.reads++;
    const due = (this.#confirmed.get(key) ?? []).filter(({ at }) => at + this.#boundMs < begunAt);
    const last = due.reduce((best, each) => (each.version > best.version ? each : best), { version: 0, at: 0 });
    if (got < last.version) this.stale.push({ key, got, expected: last.version, ageMs: Math.round(begunAt - last.at) });
  }

  async #load(key: string): Promise<number> {
    await sleep(this.#rng.int(0, LOAD_MS_MAX));
    const version = this.#source.get(key) ?? 0;
    await Promise.all([this.hold, sleep(this.#rng.int(0, LOAD_MS_MAX))]); // it may be an old one by now
    return version;
  }

  async #read(cache: Cache<number>): Promise<void> {
    while (this.#running) {
      await this.readOnce(cache, this.#rng.pick(KEYS));
      await sleep(this.#rng.int(1, 5));
    }
  }

  async #write(cache: Cache<number>): Promise<void> {
    while (this.#running) {
      await this.change(cache, this.#rng.pick(KEYS));
      await sleep(this.#rng.int(100, 600));
    }
  }
}
