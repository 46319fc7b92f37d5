import type { StafettError } from './errors.js';
import type { Owner, Grant as ProtoGrant } from './gen/stafett/v1/lock.js';
import type { AssertedGrant } from './gen/stafett/v1/session.js';
import type { Held, SessionLife } from './life.js';
import { toDate } from './views.js';

/** Where a grant is given back. Resolves when that is certain, or cannot be known for now. */
export interface GrantSource {
  release(life: SessionLife, lockId: string): Promise<unknown>;
}

/** How an acquire is shown to others. */
export interface ShownAs {
  readonly purpose?: string | undefined;
  readonly owner?: { readonly thread?: string; readonly traceId?: string } | undefined;
}

export function toOwner(owner: ShownAs['owner']): Owner | undefined {
  return owner && { host: '', thread: owner.thread ?? '', client: '', traceId: owner.traceId ?? '' };
}

/** What one successful acquire gave: shared by the lock that asked for it and by nested ones that found it held. */
export class Grant implements Held {
  /** Locks that rely on it; the last one that is released gives it back. */
  #users = 1;
  #ended: StafettError | undefined;
  #listeners: Set<(reason: StafettError) => void> | undefined;

  number = 0;
  readonly #proto: ProtoGrant;
  readonly #source: GrantSource;
  readonly #shownAs: ShownAs;

  constructor(
    readonly life: SessionLife,
    proto: ProtoGrant,
    source: GrantSource,
    shownAs: ShownAs = {},
  ) {
    this.#proto = proto;
    this.#source = source;
    this.#shownAs = shownAs;
    life.grants.add(this);
  }

  get lockId(): string {
    return this.#proto.lockId;
  }

  get names(): readonly string[] {
    return this.#proto.names;
  }

  get fencingToken(): bigint {
    return this.#proto.fencingToken;
  }

  toAssert(): AssertedGrant {
    const { lockId, names, fencingToken, acquireTime } = this.#proto;
    const { owner, purpose = '' } = this.#shownAs;
    return { lockId, names, fencingToken, acquireTime, owner: toOwner(owner), purpose };
  }

  /** By the clock of Redis. */
  get acquireTime(): Date {
    return toDate(this.#proto.acquireTime);
  }

  /** Why it is not held any more, or undefined while it is. Looks at the clock. */
  get lost(): StafettError | undefined {
    return this.#ended ?? this.life.lost;
  }

  lose(reason: StafettError): void {
    if (this.#ended) return;
    this.#ended = reason;
    this.life.grants.delete(this);
    const listeners = this.#listeners;
    this.#listeners = undefined;
    for (const listener of listeners ?? []) listener(reason);
  }

  /** Told at once when it is lost. */
  onLost(listener: (reason: StafettError) => void): () => void {
    this.#listeners ??= new Set();
    this.#listeners.add(listener);
    return () => this.#listeners?.delete(listener);
  }

  join(): void {
    this.#users++;
  }

  /**
   * One user less. What is lost already is not given back: its end has been told.
   * @throws {StafettError} LOCK_NOT_HELD when the server knows that it was lost before.
   */
  leave(): Promise<unknown> | undefined {
    this.#users--;
    if (this.#users > 0 || this.lost) return undefined;
    this.life.grants.delete(this);
    return this.#source.release(this.life, this.lockId);
  }
}
