import { setTimeout as sleep } from 'node:timers/promises';
import type { Connection } from './connection.js';
import { isUnavailable, StafettError } from './errors.js';
import type { LockState, UnlockEvent, WaitForUnlockResponse } from './gen/stafett/v1/lock.js';
import { type HolderView, type LockView, type PastHolderView, toHolderView, toLockView, toPastHolderView } from './views.js';

/** The state of a name when the watch began, or an unlock of it. */
export type WatchEvent =
  | { readonly type: 'state'; readonly name: string; readonly lock: LockView; readonly unlockCount: bigint }
  | {
      readonly type: 'unlocked';
      readonly name: string;
      /** Counts the unlocks of the name. */
      readonly unlockCount: bigint;
      readonly previous: PastHolderView | undefined;
      /** Who had it next, in the same step; undefined if nobody did, or if that is not known any more. */
      readonly next: HolderView | undefined;
      /** How many unlocks before this one could not be told; 0 but after an absence that was longer than the history. */
      readonly missed: bigint;
    };

const RETRY_MS = 200;

/** The states of the names and then every unlock, through however many connections it takes. */
export async function* watch(connection: Connection, names: string[], until: number, signal?: AbortSignal): AsyncGenerator<WatchEvent> {
  const told = new Map<string, bigint>();
  while (performance.now() < until) {
    const link = await connection.link(until, signal);
    if (!link) return;
    const ended = AbortSignal.any(signal ? [signal, link.broken] : [link.broken]);
    try {
      for await (const response of link.locks.waitForUnlock({ names, timeout: timeoutOf(until) }, { signal: ended })) {
        yield* news(response, told);
      }
      return;
    } catch (cause) {
      signal?.throwIfAborted();
      if (!link.broken.aborted && !isUnavailable(cause)) throw StafettError.from(cause);
      await sleep(RETRY_MS);
    }
  }
}

function timeoutOf(until: number) {
  if (until === Number.POSITIVE_INFINITY) return undefined;
  const ms = Math.max(0, until - performance.now());
  return { seconds: BigInt(Math.floor(ms / 1000)), nanos: Math.floor((ms % 1000) * 1e6) };
}

function* news({ event }: WaitForUnlockResponse, told: Map<string, bigint>): Generator<WatchEvent> {
  if (event?.$case === 'snapshot') yield* onSnapshot(event.value, told);
  else if (event?.$case === 'unlocked') yield* onUnlock(event.value, told);
}

/** The first one is told, and one after a loss of Redis' data; one of a later connection only tells what was missed in between. */
function* onSnapshot({ lock, unlockCount }: LockState, told: Map<string, bigint>): Generator<WatchEvent> {
  if (!lock) return;
  const before = told.get(lock.name);
  told.set(lock.name, unlockCount);
  if (before === undefined || unlockCount < before) {
    yield { type: 'state', name: lock.name, lock: toLockView(lock), unlockCount };
    return;
  }
  let missed = unlockCount - before - BigInt(lock.history.length);
  const known = missed >= 0n ? lock.history : lock.history.slice(0, Number(unlockCount - before));
  for (const [i, past] of [...known].reverse().entries()) {
    const count = unlockCount - BigInt(known.length - 1 - i);
    const previous = toPastHolderView(past);
    yield { type: 'unlocked', name: lock.name, unlockCount: count, previous, next: undefined, missed: missed > 0n ? missed : 0n };
    missed = 0n;
  }
}

function* onUnlock({ name, unlockCount, previous, next, missed }: UnlockEvent, told: Map<string, bigint>): Generator<WatchEvent> {
  const before = told.get(name);
  if (before !== undefined && unlockCount <= before) return;
  told.set(name, unlockCount);
  yield {
    type: 'unlocked',
    name,
    unlockCount,
    previous: previous && toPastHolderView(previous),
    next: next && toHolderView(next),
    missed,
  };
}
