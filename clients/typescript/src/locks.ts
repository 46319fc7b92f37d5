import { setMaxListeners } from 'node:events';
import type { Connection } from './connection.js';
import { type DurationLike, toMs } from './durations.js';
import { lockLost, StafettError } from './errors.js';
import type { AcquireRequest, Grant as ProtoGrant } from './gen/stafett/v1/lock.js';
import { Grant } from './grant.js';
import type { SessionLife } from './life.js';
import { Lock } from './lock.js';
import { toWait } from './pipeline.js';
import { type Scope, Scopes } from './scope.js';
import { type ContentionView, type LockView, type PastHolderView, toContentionView, toLockView, toPastHolderView } from './views.js';
import { type WatchEvent, watch } from './watch.js';

/** How an acquire is shown to others, and how it is given up. */
export interface AcquireOptions {
  /** What for; shown wherever the lock is shown. */
  readonly purpose?: string;
  /** Which part of this process, and in which trace; shown wherever the lock is shown. */
  readonly owner?: { readonly thread?: string; readonly traceId?: string };
  /** Gives up: leaves the queue, and rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

export interface TryOptions extends AcquireOptions {
  /** How long to wait. Default: not at all. At most 24 h. */
  readonly waitTimeout?: DurationLike;
}

export type TryResult<T> =
  | { readonly acquired: true; readonly value: T }
  | { readonly acquired: false; readonly contention: ContentionView };
export type TryLock = { readonly acquired: true; readonly lock: Lock } | { readonly acquired: false; readonly contention: ContentionView };

type Names = string | readonly string[];
type Work<T> = (lock: Lock) => Promise<T> | T;

/** After the wait, and for those who do not wait: how long a connection may take, ms. */
const GRACE_MS = 5_000;

/**
 * Locks on one name or on several at once, all or nothing. Within `run` and `tryRun` they are re-entrant: a nested call
 * takes only the names that the asynchronous call context does not hold yet, and gives back only what it took.
 */
export class Locks {
  readonly #connection: Connection;
  readonly #offlineTimeoutMs: number;
  readonly #scopes = new Scopes();

  /** Made by `connect`. */
  constructor(connection: Connection, offlineTimeoutMs: number) {
    this.#connection = connection;
    this.#offlineTimeoutMs = offlineTimeoutMs;
  }

  /**
   * Waits until the names are available, runs `work` while they are held, and gives them back.
   * @returns what `work` returns.
   * @throws what `work` throws; {StafettError} DEADLOCK when waiting would never end; LOCK_LOST when the lock was lost while
   * `work` ran, for then others may have done the same.
   * @example await stafett.locks.run(['customer/42', 'customer/43'], async (lock) => { lock.assertHeld(); });
   */
  async run<T>(names: Names, work: Work<T>, options: AcquireOptions = {}): Promise<T> {
    return this.#work(await this.acquire(names, options), work);
  }

  /** As `run`, but gives up at once, or after `waitTimeout`, when somebody else holds one of the names. */
  async tryRun<T>(names: Names, work: Work<T>, options: TryOptions = {}): Promise<TryResult<T>> {
    const attempt = await this.tryAcquire(names, options);
    if (!attempt.acquired) return attempt;
    return { acquired: true, value: await this.#work(attempt.lock, work) };
  }

  /**
   * Waits until the names are available. Within a `run`, names that it holds are shared with it; but code that follows an
   * `acquire` is in no scope of its own: a `run` there takes the names again, and would wait for ever.
   * @example await using lock = await stafett.locks.acquire('customer/42', { purpose: 'journal' });
   */
  async acquire(names: Names, options: AcquireOptions = {}): Promise<Lock> {
    const attempt = await this.#attempt(names, options, Number.POSITIVE_INFINITY);
    if (attempt instanceof Lock) return attempt;
    throw new Error('an acquire without a timeout timed out'); // #take asks again instead
  }

  /** As `acquire`, but gives up at once, or after `waitTimeout`. */
  async tryAcquire(names: Names, options: TryOptions = {}): Promise<TryLock> {
    const waitMs = toMs(options.waitTimeout ?? 0, 'waitTimeout');
    const attempt = await this.#attempt(names, options, performance.now() + waitMs);
    return attempt instanceof Lock ? { acquired: true, lock: attempt } : { acquired: false, contention: attempt };
  }

  /** The state of each name, and then every unlock of it: releases, expiries, forced releases. Ends at the timeout. */
  watch(names: Names, options: { timeout?: DurationLike; signal?: AbortSignal } = {}): AsyncGenerator<WatchEvent> {
    const until = options.timeout === undefined ? Number.POSITIVE_INFINITY : performance.now() + toMs(options.timeout, 'timeout');
    return watch(this.#connection, unique(names), until, options.signal);
  }

  /** One lock: its holder, who waits for it, and who had it before. */
  async get(name: string): Promise<LockView> {
    const { lock } = await this.#connection.call((link) => link.locks.getLock({ name }));
    return toLockView(lock ?? { name, holder: undefined, waiterCount: 0, waiters: [], history: [] });
  }

  /** The locks by name; unlocked ones are remembered for a while. `activeOnly`: those that somebody holds or waits for. */
  async *list(options: { prefix?: string; activeOnly?: boolean } = {}): AsyncGenerator<LockView> {
    const { prefix = '', activeOnly = false } = options;
    for (let pageToken = ''; ; ) {
      const request = { prefix, activeOnly, pageToken, pageSize: 0 };
      const { locks, nextPageToken } = await this.#connection.call((link) => link.locks.listLocks(request));
      yield* locks.map(toLockView);
      if (nextPageToken === '') return;
      pageToken = nextPageToken;
    }
  }

  /**
   * For operators: takes the name from its holder, with all that was granted together with it. The holder is told, but may
   * still be at work: only fencing protects against what it writes.
   * @returns who had it, or undefined if nobody did.
   * @throws {StafettError} LOCK_NOT_HELD when `fencingToken` is given and is not the present holder's.
   */
  async forceRelease(name: string, options: { fencingToken?: bigint } = {}): Promise<PastHolderView | undefined> {
    const request = { name, fencingToken: options.fencingToken ?? 0n };
    // Without a token a repetition could hit the next holder.
    const { previous } = await this.#connection.call((link) => link.locks.forceRelease(request), options.fencingToken !== undefined);
    return previous && toPastHolderView(previous);
  }

  async #work<T>(lock: Lock, work: Work<T>): Promise<T> {
    let value: T;
    try {
      value = await this.#scopes.run(lock, () => work(lock));
    } catch (error) {
      await lock.release().catch(() => {}); // the error of the work is the one to tell
      throw error;
    }
    const lost = lock.lost;
    await lock.release().catch((error) => {
      throw lost ?? lockLost(lock.names, error);
    });
    if (lost) throw lost;
    return value;
  }

  async #attempt(wanted: Names, options: AcquireOptions, until: number): Promise<Lock | ContentionView> {
    const names = unique(wanted);
    const scope = this.#scopes.current;
    const shared = sharedGrants(names, scope);
    const missing = names.filter((name) => !shared.some((grant) => grant.names.includes(name)));
    for (const grant of shared) grant.users++; // before anything is awaited: they must not be given back meanwhile
    if (missing.length === 0 && shared.length > 0) return new Lock(names, shared, (grants) => this.#giveBack(grants));
    try {
      const taken = await this.#take(missing, options, until, [...(scope?.heldLockIds() ?? [])]);
      if (taken instanceof Grant) return new Lock(names, [taken, ...shared], (grants) => this.#giveBack(grants));
      await this.#giveBack(shared);
      return taken;
    } catch (error) {
      await this.#giveBack(shared).catch(() => {});
      throw error;
    }
  }

  /** Asks until there is an answer. A session that is lost meanwhile is followed by the next, unless it holds the context. */
  async #take(names: string[], options: AcquireOptions, until: number, heldLockIds: string[]): Promise<Grant | ContentionView> {
    const { signal } = options;
    if (signal) {
      signal.throwIfAborted();
      setMaxListeners(0, signal); // one signal for many acquires is no leak
    }
    const giveUpAt = until === Number.POSITIVE_INFINITY ? performance.now() + this.#offlineTimeoutMs : until + GRACE_MS;
    while (true) {
      const found = this.#connection.session(giveUpAt, signal);
      const life = found instanceof Promise ? await found : found;
      try {
        const request = toRequest(names, options, until, heldLockIds, life);
        const { outcome } = await this.#connection.pipeline.acquire(life, request, until, giveUpAt, signal);
        if (outcome?.$case === 'grant' && !life.lost) return toGrant(outcome.value, life);
        if (outcome?.$case === 'contention' && until !== Number.POSITIVE_INFINITY) return toContentionView(outcome.value);
      } catch (error) {
        if (error instanceof StafettError && error.reason === 'SESSION_NOT_FOUND') life.lose(error);
        if (!life.lost || signal?.aborted) throw error;
        if (heldLockIds.length > 0) throw lockLost(names, life.lost);
        if (life.lost.reason === 'CLOSED') throw life.lost;
      }
    }
  }

  async #giveBack(grants: readonly Grant[]): Promise<void> {
    const released: Promise<void>[] = [];
    for (const grant of grants) if (--grant.users === 0) released.push(this.#release(grant));
    if (released.length > 1) await Promise.all(released);
    else await released[0];
  }

  #release({ life, lockId, names, lost }: Grant): Promise<void> {
    if (lost) {
      const { message } = lockLost(names, lost);
      return Promise.reject(new StafettError('FAILED_PRECONDITION', 'LOCK_NOT_HELD', message, { cause: lost }));
    }
    life.grants.delete(lockId);
    return this.#connection.pipeline.release(life, lockId);
  }
}

function unique(names: Names): string[] {
  return typeof names === 'string' ? [names] : names.length === 1 ? [...names] : [...new Set(names)];
}

/** @throws {StafettError} LOCK_LOST when the context believes to hold one of the names, but does not any more. */
function sharedGrants(names: string[], scope: Scope | undefined): Grant[] {
  if (!scope) return [];
  const grants = new Set(names.map((name) => scope.find(name)).filter((grant) => grant !== undefined));
  for (const { lost, names: covered } of grants) if (lost) throw lockLost(covered, lost);
  return [...grants];
}

function toRequest(names: string[], options: AcquireOptions, until: number, heldLockIds: string[], life: SessionLife): AcquireRequest {
  const { owner, purpose = '' } = options;
  return {
    names,
    sessionId: life.id,
    ttl: undefined,
    waitTimeout: toWait(until),
    requestId: life.nextRequestId(),
    owner: owner && { host: '', thread: owner.thread ?? '', client: '', traceId: owner.traceId ?? '' },
    purpose,
    heldLockIds,
  };
}

function toGrant({ lockId, names, fencingToken, acquireTime }: ProtoGrant, life: SessionLife): Grant {
  return new Grant(life, lockId, names, fencingToken, acquireTime);
}
