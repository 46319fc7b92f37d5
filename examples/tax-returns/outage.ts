import type { LockView } from '@stafett/client';
import type { NodeProcess } from './node-process.js';
import type { Operator } from './operator.js';
import type { Transaction } from './plan.js';
import type { Stores } from './stores.js';

export interface Takeover {
  /** From the kill until another node had the lock. */
  readonly ms: number;
  /** The lock when the one who took it over gave it back. */
  readonly view: LockView;
}

/** The death of a node: which locks it leaves behind, and who takes them over. */
export class Outage {
  readonly takeovers: Takeover[] = [];
  readonly #operator: Operator;
  readonly #stores: Stores;
  /** Locks of the dead that nobody has taken over yet. */
  readonly #orphans = new Set<string>();
  /** What was taken over, until its transaction is done. */
  readonly #takenBy = new Map<string, { readonly name: string; readonly ms: number }[]>();
  #victim = '';
  #killedAt = 0;

  constructor(operator: Operator, stores: Stores) {
    this.#operator = operator;
    this.#stores = stores;
  }

  get orphans(): number {
    return this.#orphans.size;
  }

  /**
   * Kills the node if it is in the middle of a transaction: it holds a lock, and what it does under it is half done. To be
   * sure of that it is frozen while we look; a timer would now and then kill it between two transactions.
   * @returns false when it was not; then it goes on.
   */
  async strike(node: NodeProcess): Promise<boolean> {
    node.freeze();
    const held = await this.#operator.heldBy(node.name);
    const halfDone = await Promise.all(held.map((name) => this.#stores.isHalfDone(name)));
    if (!halfDone.includes(true)) {
      node.thaw();
      return false;
    }
    this.#victim = node.name;
    this.#killedAt = performance.now();
    for (const name of held) this.#orphans.add(name);
    await node.kill();
    return true;
  }

  /** One of the others has its locks. */
  onBegan({ id, customers }: Transaction): void {
    const taken = customers.filter((name) => this.#orphans.delete(name));
    if (taken.length === 0) return;
    const ms = performance.now() - this.#killedAt;
    this.#takenBy.set(
      id,
      taken.map((name) => ({ name, ms })),
    );
  }

  async onDone({ id }: Transaction): Promise<void> {
    const taken = this.#takenBy.get(id) ?? [];
    this.#takenBy.delete(id);
    for (const { name, ms } of taken) {
      const view = await this.#operator.look(name);
      // Not if the last thing that the dead one did was to give this one back.
      const expired = view.history.some(({ host, endReason }) => host === this.#victim && endReason === 'EXPIRED');
      if (expired) this.takeovers.push({ ms, view });
    }
  }
}
