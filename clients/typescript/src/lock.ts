import { lockLost, StafettError } from './errors.js';
import type { Grant } from './grant.js';
import { toDate } from './views.js';

/**
 * A lock that was acquired. **It may be lost while the work under it goes on**: when the process or the network stalls for
 * longer than the session's TTL, or when an operator takes it away. Watch `signal`, ask `assertHeld()` before each step
 * that must not run twice, and give `fencingToken` to whatever is written, so that it can refuse a holder of the past.
 */
export class Lock implements AsyncDisposable {
  /** The names that were asked for. */
  readonly names: readonly string[];
  /** @internal What covers the names; what was taken for this lock comes first. */
  readonly grants: readonly Grant[];
  readonly #giveBack: (grants: readonly Grant[]) => Promise<void>;
  #controller: AbortController | undefined;
  #released: Promise<void> | undefined;
  #stopListening: (() => void)[] = [];

  /** @internal */
  constructor(names: readonly string[], grants: readonly Grant[], giveBack: (grants: readonly Grant[]) => Promise<void>) {
    this.names = names;
    this.grants = grants;
    this.#giveBack = giveBack;
  }

  /** The id of the grant; of a nested lock that took nothing new, that of one that covers it. */
  get lockId(): string {
    return this.#first.lockId;
  }

  /**
   * Higher for every later grant of the namespace. A nested lock that took only some of its names has the token of those;
   * one that took nothing the highest of the grants that cover it. `tokenFor` tells each name's own.
   */
  get fencingToken(): bigint {
    return this.grants.reduce((highest, { fencingToken }) => (fencingToken > highest ? fencingToken : highest), 0n);
  }

  /** The fencing token of the grant that covers this name. @throws {TypeError} if the lock does not cover it. */
  tokenFor(name: string): bigint {
    const grant = this.grants.find(({ names }) => names.includes(name));
    if (!grant) throw new TypeError(`this lock does not cover ${JSON.stringify(name)}`);
    return grant.fencingToken;
  }

  /** When it was granted, by the clock of Redis. */
  get acquireTime(): Date {
    return toDate(this.#first.acquireTime);
  }

  /** Is it certainly still held? Compares with the clock each time it is asked. */
  get isHeld(): boolean {
    return this.lost === undefined;
  }

  /** Why it is not held, or undefined while it is. */
  get lost(): StafettError | undefined {
    if (this.#released) return new StafettError('FAILED_PRECONDITION', 'LOCK_RELEASED', 'the lock was released');
    const reason = this.grants.find((grant) => grant.lost)?.lost;
    return reason && lockLost(this.names, reason);
  }

  /** @throws {StafettError} LOCK_LOST, or LOCK_RELEASED, unless the lock is certainly still held. */
  assertHeld(): void {
    const lost = this.lost;
    if (lost) throw lost;
  }

  /** Aborted, with a `StafettError` as its reason, as soon as the lock may be lost. Not by a release. */
  get signal(): AbortSignal {
    this.#controller ??= this.#listen();
    const lost = this.#released ? undefined : this.lost;
    if (lost) this.#controller.abort(lost);
    return this.#controller.signal;
  }

  /**
   * Gives the lock back; who is next in line has it in the same step. Doing it twice is fine.
   * @throws {StafettError} LOCK_NOT_HELD when it was lost before.
   */
  release(): Promise<void> {
    if (!this.#released) {
      for (const stop of this.#stopListening) stop();
      this.#released = this.#giveBack(this.grants);
    }
    return this.#released;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release().catch(ignoreLost);
  }

  get #first(): Grant {
    return this.grants[0] as Grant;
  }

  #listen(): AbortController {
    const controller = new AbortController();
    this.#stopListening = this.grants.map((grant) => grant.onLost((reason) => controller.abort(lockLost(this.names, reason))));
    return controller;
  }
}

/** At the end of a scope nobody can do anything about a lock that was lost before; `signal` has told it. */
function ignoreLost(error: unknown): void {
  if (!(error instanceof StafettError) || error.reason !== 'LOCK_NOT_HELD') throw error;
}
