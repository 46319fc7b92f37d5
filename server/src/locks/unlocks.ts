import type { HolderView, LockView, PastView } from '../engine/commands.js';
import type { NamespaceEngine } from '../engine/namespace-engine.js';
import type { WaitForUnlockResponse } from '../gen/stafett/v1/lock.js';
import { toHolder, toLock, toPastHolder } from './lock-views.js';
import { streamLimit } from './refusals.js';

/** How long the engine tells this server of a name's unlocks, and how often that is renewed, ms. */
const WATCH_MS = 20_000;
const RENEW_MS = 5_000;
/** Names in one renewal. */
const RENEW_NAMES_MAX = 64;
/** Events that wait for one reader. */
const EVENTS_MAX = 10_000;

interface Unlock {
  readonly count: number;
  readonly past: PastView;
  readonly next: HolderView | false;
}

/**
 * One reader of the unlocks of some names. The engine counts the unlocks of each name; what arrives out of that order is
 * found in the history, and what the history does not reach any more is told as missed.
 */
class Watch {
  /** Unlocks told so far, of each name; undefined until its snapshot is told. */
  readonly #told = new Map<string, number | undefined>();
  readonly #early: [string, Unlock][] = [];
  #events: WaitForUnlockResponse[] = [];
  #wake: () => void = () => {};
  #failure: Error | undefined;
  ended = false;

  constructor(readonly names: string[]) {
    for (const name of names) this.#told.set(name, undefined);
  }

  /** The present state of a name, and its last holders, latest first. */
  onState(view: LockView, history: PastView[]): void {
    const [name, , , count] = view;
    const told = this.#told.get(name);
    if (told === undefined || count < told) {
      // The first time, or again after Redis lost its data and began to count anew.
      this.#push({ event: { $case: 'snapshot', value: { lock: toLock(view, [], history), unlockCount: BigInt(count) } } });
      this.#told.set(name, count);
      for (const [earlyName, unlock] of this.#early.splice(0)) this.onUnlock(earlyName, unlock);
      return;
    }
    const oldest = Math.max(told, count - history.length) + 1;
    for (let n = oldest; n <= count; n++) {
      this.#tell(name, { count: n, past: history[count - n] as PastView, next: false });
    }
  }

  /** Returns false if some came before that this reader has not heard of. */
  onUnlock(name: string, unlock: Unlock): boolean {
    const told = this.#told.get(name);
    if (told === undefined) this.#early.push([name, unlock]);
    else if (unlock.count > told + 1) return false;
    else if (unlock.count === told + 1) this.#tell(name, unlock);
    return true;
  }

  end(failure?: Error): void {
    this.#failure ??= failure;
    this.ended = true;
    this.#wake();
  }

  async *events(): AsyncIterable<WaitForUnlockResponse> {
    while (true) {
      const events = this.#events;
      this.#events = [];
      yield* events;
      if (this.#events.length > 0) continue;
      if (this.#failure) throw this.#failure;
      if (this.ended) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #tell(name: string, { count, past, next }: Unlock): void {
    const missed = count - (this.#told.get(name) as number) - 1;
    this.#told.set(name, count);
    const value = {
      name,
      unlockCount: BigInt(count),
      previous: toPastHolder(past),
      next: next ? toHolder(next) : undefined,
      missed: BigInt(missed),
    };
    this.#push({ event: { $case: 'unlocked', value } });
  }

  #push(event: WaitForUnlockResponse): void {
    if (this.#events.length >= EVENTS_MAX)
      return this.end(streamLimit(`more than ${EVENTS_MAX} events wait for a reader that does not read`));
    this.#events.push(event);
    this.#wake();
  }
}

/** The unlocks of one namespace's names, for all readers on this server. */
export class Unlocks {
  readonly #engine: NamespaceEngine;
  readonly #watches = new Map<string, Set<Watch>>();
  #timer: NodeJS.Timeout | undefined;

  constructor(engine: NamespaceEngine) {
    this.#engine = engine;
    engine.interests.push(() => this.#watches.size > 0);
    engine.events.on('unlocked', (name, count, past, next) => this.#onUnlock(name, { count, past, next }));
    engine.events.on('reask', () => this.#renew());
  }

  /** The state of each name, then every unlock, until the signal says enough. */
  async *watch(names: string[], enough: AbortSignal): AsyncIterable<WaitForUnlockResponse> {
    const watch = new Watch(names);
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

  #add(watch: Watch): void {
    for (const name of watch.names) {
      const watches = this.#watches.get(name) ?? new Set();
      this.#watches.set(name, watches.add(watch));
    }
    this.#timer ??= setInterval(() => this.#renew(), RENEW_MS).unref();
  }

  #remove(watch: Watch): void {
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
    const [, states] = await this.#engine.run<'watch'>(['watch', names, WATCH_MS]);
    for (const [view, history] of states) {
      const past = Array.isArray(history) ? history : [];
      for (const watch of this.#watches.get(view[0]) ?? []) watch.onState(view, past);
    }
  }
}
