import { isNotHeld, lockLost, lockReleased, StafettError } from './errors.js';
import type { Grant } from './grant.js';
import { lookingSignal } from './signals.js';

/**
 * A lock that was acquired. **It may be lost while the work under it goes on**: when the process or the network stalls for
 * longer than the session's TTL, or when an operator takes it away. Watch `signal`, ask `assertHeld()` before each step
 * that must not run twice, and give the fencing token to whatever is written, so that it can refuse a holder of the past.
 */
export class Lock implements AsyncDisposable {
  /** The names that were asked for, each once. */
  readonly names: readonly string[];
  /** @internal What covers the names; what was taken for this lock comes first. */
  readonly grants: readonly Grant[];
  #controller: AbortController | undefined;
  #released: Promise<void> | undefined;
  #stopListening: (() => void)[] = [];

  /** @internal */
  constructor(names: readonly string[], grants: readonly Grant[]) {
    this.names = names;
    this.grants = grants;
  }

  /** The id of the grant; of a nested lock that took nothing new, that of one that covers it. */
  get lockId(): string {
    return this.#first.lockId;
  }

  /**
   * Higher for every later grant of the namespace. Of a nested lock the highest of those that cover it, which is that of
   * the names that it took itself; **`tokenFor` tells each name's own**, and that is the one to write with, or else what the
   * lock around writes next is refused.
   */
  get fencingToken(): bigint {
    return this.grants.reduce((highest, { fencingToken }) => (fencingToken > highest ? fencingToken : highest), 0n);
  }

  /** The fencing token of the grant that covers this name. @throws {TypeError} if the lock does not cover it. */
  tokenFor(name: string): bigint {
    const grant = this.grantFor(name);
    if (!grant) throw new TypeError(`this lock does not cover ${JSON.stringify(name)}`);
    return grant.fencingToken;
  }

  /** When it was granted, by the clock of Redis. */
  get acquireTime(): Date {
    return this.#first.acquireTime;
  }

  /** Is it certainly still held? Compares with the clock each time it is asked. */
  get isHeld(): boolean {
    return !this.#released && this.grants.every((grant) => !grant.lost);
  }

  /** Why it is not held, or undefined while it is. */
  get lost(): StafettError | undefined {
    return this.#released ? lockReleased(this.names) : this.#lostGrant();
  }

  /** @throws {StafettError} LOCK_LOST, or LOCK_RELEASED, unless the lock is certainly still held. */
  assertHeld(): void {
    const lost = this.lost;
    if (lost) throw lost;
  }

  /**
   * Aborted, with LOCK_LOST as its reason, as soon as the lock may be lost; its `cause` says how. Not by a release. Compares
   * with the clock each time it is asked, so that `signal.aborted` is true also when no timer had a chance to run.
   */
  get signal(): AbortSignal {
    this.#controller ??= this.#listen();
    return this.#controller.signal;
  }

  /**
   * Gives the lock back; who is next in line has it in the same step. Twice is fine. Resolves when the server has confirmed
   * it; without a connection at once, and the server hears of it later.
   * @throws {StafettError} LOCK_LOST when it was lost before: do not trust the result of what was done under it.
   */
  release(): Promise<void> {
    this.#released ??= this.#giveBack();
    return this.#released;
  }

  /** As `release`, but does not throw LOCK_LOST: on the way out it would hide the error that leads there. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.release();
    } catch (error) {
      if (!(error instanceof StafettError) || error.reason !== 'LOCK_LOST') throw error;
    }
  }

  /** @internal */
  get released(): boolean {
    return this.#released !== undefined;
  }

  /** @internal */
  grantFor(name: string): Grant | undefined {
    return this.grants.find(({ names }) => names.includes(name));
  }

  get #first(): Grant {
    return this.grants[0] as Grant;
  }

  #lostGrant(): StafettError | undefined {
    for (const { lost } of this.grants) if (lost) return lockLost(this.names, lost);
    return undefined;
  }

  async #giveBack(): Promise<void> {
    const lost = this.#lostGrant();
    for (const stop of this.#stopListening) stop();
    try {
      if (this.grants.length === 1) await this.#first.leave();
      else await Promise.all(this.grants.map((grant) => grant.leave()));
    } catch (error) {
      throw lost ?? (isNotHeld(error) ? lockLost(this.names, error) : error);
    }
    if (lost) throw lost;
  }

  #listen(): AbortController {
    const controller = new AbortController();
    const look = () => {
      const lost = this.#released ? undefined : this.#lostGrant();
      if (lost) controller.abort(lost);
    };
    look();
    lookingSignal(controller, look);
    if (!this.#released) this.#stopListening = this.grants.map((grant) => grant.onLost(look));
    return controller;
  }
}
