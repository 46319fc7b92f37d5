import { AsyncLocalStorage } from 'node:async_hooks';
import type { Grant } from './grant.js';
import type { Lock } from './lock.js';

/**
 * What the code of one `run` holds, on top of what the `run`s around it hold. Travels with the asynchronous call context.
 * A scope that has ended holds nothing, even for code that it started and did not wait for.
 */
export class Scope {
  ended = false;

  constructor(
    readonly grants: readonly Grant[],
    private readonly outer: Scope | undefined,
  ) {}

  /** The grant that covers the name, here or further out. */
  find(name: string): Grant | undefined {
    const found = this.ended ? undefined : this.grants.find(({ names }) => names.includes(name));
    return found ?? this.outer?.find(name);
  }

  /** Everything that is held, here and further out. */
  heldLockIds(ids: Set<string> = new Set()): Set<string> {
    if (!this.ended) for (const { lockId } of this.grants) ids.add(lockId);
    return this.outer?.heldLockIds(ids) ?? ids;
  }
}

/** Of one client: locks of different clients are strangers to each other. */
export class Scopes {
  readonly #storage = new AsyncLocalStorage<Scope>();

  get current(): Scope | undefined {
    return this.#storage.getStore();
  }

  /** Runs `fn` in a scope that holds what the lock holds, and ends the scope with it. */
  async run<T>(lock: Lock, fn: () => Promise<T> | T): Promise<T> {
    const scope = new Scope(lock.grants, this.current);
    try {
      return await this.#storage.run(scope, async () => fn());
    } finally {
      scope.ended = true;
    }
  }
}
