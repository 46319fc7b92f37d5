import { setMaxListeners } from 'node:events';
import { take, takeMore, type Wish } from './acquiring.js';
import type { Connection } from './connection.js';
import { type DurationLike, toMs } from './durations.js';
import { lostMeanwhile, StafettError, waitTimeout } from './errors.js';
import { Grant } from './grant.js';
import { Lock } from './lock.js';
import { checkHeld, Scope, Scopes } from './scope.js';
import type { WatchEvent } from './unlock-news.js';
import { type ContentionView, type LockView, type PastHolderView, toLockView, toPastHolderView } from './views.js';
import { watch } from './watch.js';

/** How an acquire is shown to others, and how it is given up. */
export interface AcquireOptions {
  /** What for; shown wherever the lock is shown. At most 256 bytes. */
  readonly purpose?: string;
  /** Which part of this process, and in which trace; shown wherever the lock is shown. */
  readonly owner?: { readonly thread?: string; readonly traceId?: string };
  /** Gives up: leaves the queue, and rejects with the signal's reason. Once the lock is held it has no effect. */
  readonly signal?: AbortSignal;
  /** How long to wait, at most 24 h. Default: for `try…` not at all, else without end. */
  readonly waitTimeout?: DurationLike;
  /** A lock that the caller has by `acquire`: its names count as held, as those of a `run` around the call do. */
  readonly within?: Lock;
}

export type TryOptions = AcquireOptions;
export type TryResult<T> =
  | { readonly acquired: true; readonly value: T }
  | { readonly acquired: false; readonly contention: ContentionView };
export type TryLock = { readonly acquired: true; readonly lock: Lock } | { readonly acquired: false; readonly contention: ContentionView };

export type Names = string | readonly string[];
export type Work<T> = (lock: Lock) => Promise<T> | T;

/**
 * Locks on one name or on several at once, all or nothing. Within `run` and `tryRun` they are re-entrant: a nested call
 * takes only the names that its asynchronous call context does not hold yet, and gives back only what it took. Contexts that
 * do not surround each other contend, also those that a `Promise.all` starts side by side within one `run`.
 *
 * Unless told otherwise, each call throws a {@link StafettError}: CLOSED after `close()`, what the server refuses, e.g.
 * INVALID_FIELD, and CONNECTION_FAILED when no server can be reached in time: 5 s after the `waitTimeout`; without one
 * after the `offlineTimeout` of `connect`, by default never.
 */
export class Locks {
  readonly #connection: Connection;
  readonly #scopes = new Scopes();

  /** @internal */
  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /**
   * Waits until the names are available, runs `work` while they are held, and gives them back, whatever happens. **The lock
   * may be lost while `work` runs**; see {@link Lock}.
   * @returns what `work` returns, when it is certain that the lock was held all the time.
   * @throws what `work` throws; {StafettError} LOCK_LOST when the lock was lost while `work` ran, for then others may have
   * done the same: its `value` is what `work` returned; LOCK_LOST without a run when a lock around this one is lost; DEADLOCK
   * when waiting would never end; WAIT_TIMEOUT.
   * @example await stafett.locks.run(['customer/42', 'customer/43'], async (lock) => { lock.assertHeld(); });
   */
  async run<T>(names: Names, work: Work<T>, options: AcquireOptions = {}): Promise<T> {
    const scope = this.#scope(options);
    return this.#work(await this.#acquire(names, options, scope), scope, work);
  }

  /**
   * As `run`, but gives up at once, or after `waitTimeout`, when somebody else holds one of the names.
   * @example const outcome = await stafett.locks.tryRun('customer/42', work, { waitTimeout: '5s' });
   */
  async tryRun<T>(names: Names, work: Work<T>, options: TryOptions = {}): Promise<TryResult<T>> {
    const scope = this.#scope(options);
    const attempt = await this.#attempt(names, options, scope, 0);
    if (!(attempt instanceof Lock)) return { acquired: false, contention: attempt };
    return { acquired: true, value: await this.#work(attempt, scope, work) };
  }

  /**
   * Waits until the names are available. Within a `run`, names that it holds are shared with it. **Code that follows an
   * `acquire` is in no scope of its own**: a `run` there that needs the same names waits for them, perhaps for ever, unless
   * it is told `{ within: lock }`. Prefer `run`.
   * @throws {StafettError} as `run`.
   * @example await using lock = await stafett.locks.acquire('customer/42', { purpose: 'journal' });
   */
  acquire(names: Names, options: AcquireOptions = {}): Promise<Lock> {
    return this.#acquire(names, options, this.#scope(options));
  }

  /** As `acquire`, but gives up at once, or after `waitTimeout`. */
  async tryAcquire(names: Names, options: TryOptions = {}): Promise<TryLock> {
    const attempt = await this.#attempt(names, options, this.#scope(options), 0);
    return attempt instanceof Lock ? { acquired: true, lock: attempt } : { acquired: false, contention: attempt };
  }

  /**
   * The state of each name, and then every unlock of it: releases, expiries, forced releases. None is told twice, none is
   * missed without saying so, through however many connections it takes. Ends at the timeout; an abort of the signal throws its reason.
   * @example for await (const event of stafett.locks.watch('customer/42', { timeout: '1m' })) console.log(event.type);
   */
  watch(names: Names, options: { timeout?: DurationLike; signal?: AbortSignal } = {}): AsyncGenerator<WatchEvent> {
    const until = options.timeout === undefined ? Number.POSITIVE_INFINITY : performance.now() + toMs(options.timeout, 'timeout');
    return watch(this.#connection, unique(names), until, options.signal);
  }

  /** One lock: its holder, who waits for it, and who had it before. A name that was never locked is free, without history. */
  async get(name: string, { signal }: { signal?: AbortSignal } = {}): Promise<LockView> {
    const { lock } = await this.#connection.call((link, ended) => link.locks.getLock({ name }, { signal: ended }), signal);
    return toLockView(lock ?? { name, holder: undefined, waiterCount: 0, waiters: [], history: [] });
  }

  /** The locks by name; unlocked ones are remembered for a while. `activeOnly`: those that somebody holds or waits for. */
  async *list(options: { prefix?: string; activeOnly?: boolean; signal?: AbortSignal } = {}): AsyncGenerator<LockView> {
    const { prefix = '', activeOnly = false, signal } = options;
    for (let pageToken = ''; ; ) {
      const request = { prefix, activeOnly, pageToken, pageSize: 0 };
      const page = await this.#connection.call((link, ended) => link.locks.listLocks(request, { signal: ended }), signal);
      yield* page.locks.map(toLockView);
      if (page.nextPageToken === '') return;
      pageToken = page.nextPageToken;
    }
  }

  /**
   * For operators: takes the name from its holder, with all that was granted together with it. The holder is told, but may
   * still be at work: only fencing protects against what it writes. With a `fencingToken`: only if it is the holder's. Without
   * one it is not repeated when the connection breaks, for it could hit the next holder.
   * @returns who had it, or undefined if nobody did.
   * @throws {StafettError} LOCK_NOT_HELD when `fencingToken` is not the present holder's.
   */
  async forceRelease(name: string, options: { fencingToken?: bigint; signal?: AbortSignal } = {}): Promise<PastHolderView | undefined> {
    const { fencingToken, signal } = options;
    const request = { name, fencingToken: fencingToken ?? 0n };
    const repeatable = fencingToken !== undefined;
    const { previous } = await this.#connection.call(
      (link, ended) => link.locks.forceRelease(request, { signal: ended }),
      signal,
      repeatable,
    );
    return previous && toPastHolderView(previous);
  }

  /** What surrounds the call. */
  #scope({ within }: AcquireOptions): Scope | undefined {
    const { current } = this.#scopes;
    return within ? new Scope(within, current) : current;
  }

  async #work<T>(lock: Lock, outer: Scope | undefined, work: Work<T>): Promise<T> {
    let value: T;
    try {
      value = await this.#scopes.run(new Scope(lock, outer), work);
    } catch (error) {
      await lock.release().catch(() => {}); // the error of the work is the one to tell
      throw error;
    }
    if (lock.released) return value; // by the work, which was told if it was lost
    try {
      await lock.release();
    } catch (error) {
      throw error instanceof StafettError && error.reason === 'LOCK_LOST' ? lostMeanwhile(error, value) : error;
    }
    return value;
  }

  async #acquire(names: Names, options: AcquireOptions, scope: Scope | undefined): Promise<Lock> {
    const attempt = await this.#attempt(names, options, scope, Number.POSITIVE_INFINITY);
    if (attempt instanceof Lock) return attempt;
    throw waitTimeout(unique(names), attempt);
  }

  #attempt(wanted: Names, options: AcquireOptions, scope: Scope | undefined, waitMs: number): Promise<Lock | ContentionView> {
    const names = unique(wanted);
    const { purpose, owner, signal, waitTimeout: timeout } = options;
    if (signal) setMaxListeners(0, signal); // one signal for many acquires is no leak
    const askedAt = performance.now();
    const times = { askedAt, waitUntil: askedAt + (timeout === undefined ? waitMs : toMs(timeout, 'waitTimeout')) };
    const wish = { names, times, purpose, owner, signal };
    const held = scope?.grants();
    return held && held.size > 0 ? this.#attemptMore(wish, scope as Scope, held) : take(this.#connection, wish);
  }

  /** A nested call: shares what surrounds it, and takes the rest. */
  async #attemptMore(wish: Wish, scope: Scope, held: ReadonlySet<Grant>): Promise<Lock | ContentionView> {
    const { names, signal } = wish;
    signal?.throwIfAborted();
    checkHeld(held);
    const shared = [...new Set(names.map((name) => scope.find(name)).filter((grant) => grant !== undefined))];
    const missing = names.filter((name) => !shared.some((grant) => grant.names.includes(name)));
    for (const grant of shared) grant.join(); // before anything is awaited: they must not be given back meanwhile
    if (missing.length === 0 && shared.length > 0) return new Lock(names, shared);
    const leave = () => Promise.all(shared.map((grant) => grant.leave()));
    try {
      const taken = await takeMore(this.#connection, { ...wish, names: missing }, held);
      if (taken instanceof Grant) return new Lock(names, [taken, ...shared]);
      await leave();
      return taken;
    } catch (error) {
      await leave().catch(() => {});
      throw error;
    }
  }
}

function unique(names: Names): string[] {
  return typeof names === 'string' ? [names] : names.length === 1 ? [...names] : [...new Set(names)];
}
