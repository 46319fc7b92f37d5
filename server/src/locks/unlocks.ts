import type { NamespaceEngine } from '../engine/namespace-engine.js';
import type { WaitForUnlockResponse } from '../gen/stafett/v1/lock.js';
import { type Unlock, UnlockWatch } from './unlock-watch.js';

/** How long the engine tells this server of a name's unlocks, and how often that is renewed, ms. */
const WATCH_MS = 20_000;
const RENEW_MS = 5_000;
/** Names in one renewal. */
const RENEW_NAMES_MAX = 64;
/** The unlocks of one namespace's names, for all readers on this server. */
export class Unlocks {
  readonly #engine: NamespaceEngine;
  readonly #watches = new Map<string, Set<UnlockWatch>>();
  #timer: NodeJS.Timeout | undefined;

  constructor(engine: NamespaceEngine) {
    this.#engine = engine;
    engine.interests.push(() => this.#watches.size > 0);
    engine.events.on('unlocked', (name, count, past, next) => this.#onUnlock(name, { count, past, next }));
    engine.events.on('reask', () => this.#renew());
    engine.events.on('epoch', () => this.#renew());
  }

  /** The state of each name, then every unlock, until the signal says enough. */
  async *watch(names: string[], enough: AbortSignal): AsyncIterable<WaitForUnlockResponse> {
    const watch = new UnlockWatch(names);
    const stop = () => watch.end();
    enough.addEventListener('abort', stop);
    this.#add(watch); // before asking, so that nothing falls between
    try {
      await this.#refresh(names);
      if (enough.aborted) watch.end();
      yield* watch.events();
    } finally {
      enough.removeEventListener('abort', stop);
      this.#remove(watch);
    }
  }

  #add(watch: UnlockWatch): void {
    for (const name of watch.names) {
      const watches = this.#watches.get(name) ?? new Set();
      this.#watches.set(name, watches.add(watch));
    }
    this.#timer ??= setInterval(() => this.#renew(), RENEW_MS).unref();
  }

  #remove(watch: UnlockWatch): void {
    watch.end();
    const unwatched = watch.names.filter((name) => {
      const watches = this.#watches.get(name);
      watches?.delete(watch);
      return watches?.size === 0 && this.#watches.delete(name);
    });
    if (unwatched.length > 0) this.#engine.submit<'unwatch'>(['unwatch', unwatched], () => {});
    if (this.#watches.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #onUnlock(name: string, unlock: Unlock): void {
    let complete = true;
    for (const watch of this.#watches.get(name) ?? []) complete = watch.onUnlock(name, unlock) && complete;
    if (!complete) this.#refresh([name]).catch(() => {}); // the next renewal tries again
  }

  #renew(): void {
    const names = [...this.#watches.keys()];
    for (let i = 0; i < names.length; i += RENEW_NAMES_MAX) this.#refresh(names.slice(i, i + RENEW_NAMES_MAX)).catch(() => {});
  }

  async #refresh(names: string[]): Promise<void> {
    const askedAt = performance.now();
    const [, states] = await this.#engine.run<'watch'>(['watch', names, WATCH_MS]);
    for (const [view, history] of states) {
      const past = Array.isArray(history) ? history : [];
      for (const watch of this.#watches.get(view[0]) ?? []) watch.onState(view, past, askedAt);
    }
  }
}
