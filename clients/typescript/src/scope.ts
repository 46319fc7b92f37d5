import { AsyncLocalStorage } from 'node:async_hooks';
import { lockLost } from './errors.js';
import type { Grant } from './grant.js';
import type { Lock } from './lock.js';

/**
 * What the code of one `run` holds, on top of what the `run`s around it hold. Travels with the asynchronous call context.
 * Once its lock was released, at the end or early, a scope holds nothing, even for code that it started and did not wait
 * for. Calls side by side in one scope share what is around them, and contend for everything else.
 */
export class Scope {
  constructor(
    readonly lock: Lock,
    private readonly outer: Scope | undefined,
  ) {}

  /** Everything that is held, here and further out, as the grants stand. */
  grants(): Set<Grant> {
    const grants = new Set<Grant>();
    for (const lock of this.#locks()) for (const grant of lock.grants) grants.add(grant);
    return grants;
  }

  /** The grant that covers the name, here or further out. */
  find(name: string): Grant | undefined {
    for (const lock of this.#locks()) {
      const grant = lock.grantFor(name);
      if (grant) return grant;
    }
    return undefined;
  }

  *#locks(): Generator<Lock> {
    for (let scope: Scope | undefined = this; scope; scope = scope.outer) {
      if (!scope.lock.released) yield scope.lock;
    }
  }
}

/** @throws {StafettError} LOCK_LOST when something that the context believes to hold is lost: whatever it does next is in vain. */
export function checkHeld(grants: Iterable<Grant>): void {
  for (const { lost, names } of grants) if (lost) throw lockLost(names, lost);
}

/** Of one client: locks of different clients are strangers to each other. */
export class Scopes {
  readonly #storage = new AsyncLocalStorage<Scope>();

  get current(): Scope | undefined {
    return this.#storage.getStore();
  }

  /** Runs the work in the scope, which ends with its lock. */
  run<T>(scope: Scope, work: (lock: Lock) => T): T {
    return this.#storage.run(scope, work, scope.lock);
  }
}
