import type { LockState, UnlockEvent, WaitForUnlockResponse } from './gen/stafett/v1/lock.js';
import { type HolderView, type LockView, type PastHolderView, toHolderView, toLockView, toPastHolderView } from './views.js';

/** The state of a name when the watch began, or began anew because the servers have forgotten the name; or an unlock of it. */
export type WatchEvent =
  | { readonly type: 'state'; readonly name: string; readonly lock: LockView; readonly unlockCount: bigint }
  | {
      readonly type: 'unlocked';
      readonly name: string;
      /** Counts the unlocks of the name. */
      readonly unlockCount: bigint;
      /** Who had it, until when, and how that ended; undefined if that is not known any more. */
      readonly previous: PastHolderView | undefined;
      /** Who had it next, in the same step; undefined if nobody did, or if that is not known any more. */
      readonly next: HolderView | undefined;
      /** How many unlocks before this one could not be told; 0 but after an absence that was longer than the history. */
      readonly missed: bigint;
    };

/** Tells what is new in what servers tell: each server that a watch comes to begins from the beginning, with the state of each name. */
export class UnlockNews {
  /** Unlocks told so far, of each name. */
  readonly #told = new Map<string, bigint>();

  *of({ event }: WaitForUnlockResponse): Generator<WatchEvent> {
    if (event?.$case === 'snapshot') yield* this.#onSnapshot(event.value);
    else if (event?.$case === 'unlocked') yield* this.#onUnlock(event.value);
  }

  /** The first one is told; a later one, of another connection, only tells what was missed in between. */
  *#onSnapshot({ lock, unlockCount }: LockState): Generator<WatchEvent> {
    if (!lock) return;
    const before = this.#told.get(lock.name);
    this.#told.set(lock.name, unlockCount);
    if (before === undefined || unlockCount < before) {
      yield { type: 'state', name: lock.name, lock: toLockView(lock), unlockCount };
      return;
    }
    const unheard = Number(unlockCount - before);
    if (unheard === 0) return;
    // Latest first. What it does not reach back to is missed; without any the last one is told all the same, for it happened.
    const history = lock.history.slice(0, unheard);
    let missed = BigInt(unheard - Math.max(history.length, 1));
    for (let i = Math.max(history.length, 1) - 1; i >= 0; i--) {
      const past = history[i];
      const previous = past && toPastHolderView(past);
      yield { type: 'unlocked', name: lock.name, unlockCount: unlockCount - BigInt(i), previous, next: undefined, missed };
      missed = 0n;
    }
  }

  *#onUnlock({ name, unlockCount, previous, next, missed }: UnlockEvent): Generator<WatchEvent> {
    const before = this.#told.get(name);
    if (before !== undefined && unlockCount <= before) return;
    this.#told.set(name, unlockCount);
    yield {
      type: 'unlocked',
      name,
      unlockCount,
      previous: previous && toPastHolderView(previous),
      next: next && toHolderView(next),
      missed,
    };
  }
}
