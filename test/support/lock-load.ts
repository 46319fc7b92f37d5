import { setTimeout as sleep } from 'node:timers/promises';
import { type Lock, type Stafett, StafettError } from '../../clients/typescript/src/index.js';
import { onCleanup } from './cleanup.js';
import { checkHistory, type HistoryEvent, type Problem } from './history-checker.js';
import type { Rng } from './rng.js';

const HOLD_MS_MAX = 5;
/** A grant may be late while a master is away; whether anybody was forgotten is seen by who is done at the end. */
const NO_HURRY_MS = 60_000;

/** Clients of one namespace that take and give back few names, again and again, and record it. On one machine, Redis' time is `Date.now()`. */
export class LockLoad {
  readonly events: HistoryEvent[] = [];
  /** Why acquires, or what was done under them, failed. */
  readonly failures: string[] = [];
  /** When each was done, ms. */
  readonly #doneAt: number[] = [];
  readonly #lanes: Promise<void>[];
  #ending = false;
  #ids = 0;

  constructor(clients: readonly Stafett[], names: readonly string[], rng: Rng, lanes = 4) {
    this.#lanes = clients.flatMap((client) => Array.from({ length: lanes }, () => this.#lane(client, names, rng.fork())));
    onCleanup(() => this.end());
  }

  get done(): number {
    return this.#doneAt.length;
  }

  /** The longest time without anything done, ms. */
  get longestPauseMs(): number {
    return this.#doneAt.reduce((longest, at, i) => Math.max(longest, at - (this.#doneAt[i - 1] ?? at)), 0);
  }

  /** Begins to end, waits until everybody has got what it waits for, and tells what was wrong. */
  async end(): Promise<Problem[]> {
    this.#ending = true;
    await Promise.all(this.#lanes);
    return checkHistory(this.events, { handOffMs: NO_HURRY_MS });
  }

  async #lane({ locks }: Stafett, names: readonly string[], rng: Rng): Promise<void> {
    while (!this.#ending) {
      try {
        await this.#once(rng.sample(names, rng.chance(0.2) ? 2 : 1), (wanted, id) => {
          this.events.push({ kind: 'requested', id, names: wanted, at: Date.now(), queuedBy: Number.POSITIVE_INFINITY });
          return locks.acquire(wanted);
        });
        await sleep(rng.int(0, HOLD_MS_MAX));
      } catch (error) {
        this.failures.push(error instanceof StafettError ? error.reason : String(error));
        await sleep(20);
      }
    }
  }

  async #once(names: readonly string[], acquire: (names: readonly string[], id: string) => Promise<Lock>): Promise<void> {
    const id = String(++this.#ids);
    const lock = await acquire(names, id);
    const at = lock.acquireTime.getTime();
    this.events.push({ kind: 'granted', id, names, token: lock.fencingToken, at });
    let heldAt = at;
    try {
      await sleep(HOLD_MS_MAX);
      lock.assertHeld();
      heldAt = Math.max(at, Date.now());
      await lock.release();
      this.#doneAt.push(heldAt);
    } finally {
      this.events.push({ kind: 'ended', id, at: heldAt, how: 'RELEASED' });
    }
  }
}
