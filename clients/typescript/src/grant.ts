import type { StafettError } from './errors.js';
import type { Timestamp } from './gen/google/protobuf/timestamp.js';
import type { SessionLife } from './life.js';

/** What one successful acquire gave: shared by the lock that asked for it and by nested ones that found it held. */
export class Grant {
  /** Scopes that rely on it; the last one that leaves gives it back. */
  users = 1;
  #ended: StafettError | undefined;
  readonly #listeners = new Set<(reason: StafettError) => void>();

  constructor(
    readonly life: SessionLife,
    readonly lockId: string,
    readonly names: readonly string[],
    readonly fencingToken: bigint,
    readonly acquireTime: Timestamp | undefined,
  ) {
    life.grants.set(lockId, this);
  }

  /** Why it is not held any more, or undefined while it is. Looks at the clock. */
  get lost(): StafettError | undefined {
    return this.#ended ?? this.life.lost;
  }

  lose(reason: StafettError): void {
    if (this.#ended) return;
    this.#ended = reason;
    this.life.grants.delete(this.lockId);
    for (const listener of this.#listeners) listener(reason);
    this.#listeners.clear();
  }

  /** Told at once when it is lost. */
  onLost(listener: (reason: StafettError) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
