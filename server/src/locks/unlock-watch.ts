import type { HolderView, LockView, PastView } from '../engine/commands.js';
import type { WaitForUnlockResponse } from '../gen/stafett/v1/lock.js';
import { streamLimit } from '../rpc/errors.js';
import { toHolder, toLock, toPastHolder } from './lock-views.js';

/** Events that wait for one reader. */
const EVENTS_MAX = 10_000;

export interface Unlock {
  readonly count: number;
  readonly past: PastView;
  readonly next: HolderView | false;
}

/**
 * One reader of the unlocks of some names. The engine counts the unlocks of each name; what arrives out of that order is
 * found in the history, and what the history does not reach any more is told as missed.
 */
export class UnlockWatch {
  /** Unlocks told so far, of each name, and when the last one was; undefined until its snapshot is told. */
  readonly #told = new Map<string, { count: number; at: number } | undefined>();
  readonly #early: [string, Unlock][] = [];
  #events: WaitForUnlockResponse[] = [];
  #wake: () => void = () => {};
  #failure: Error | undefined;
  ended = false;

  constructor(readonly names: string[]) {
    for (const name of names) this.#told.set(name, undefined);
  }

  /**
   * The state of a name, and its last holders, latest first.
   * @param askedAt when it was asked for: an unlock that was told since then may be missing in it.
   */
  onState(view: LockView, history: PastView[], askedAt: number): void {
    const [name, , , count] = view;
    const told = this.#told.get(name);
    const beganAnew = told && count < told.count && told.at < askedAt; // Redis has lost its data
    if (!told || beganAnew) {
      this.#push({ event: { $case: 'snapshot', value: { lock: toLock(view, [], history), unlockCount: BigInt(count) } } });
      this.#told.set(name, { count, at: performance.now() });
      for (const [earlyName, unlock] of this.#early.splice(0)) this.onUnlock(earlyName, unlock);
      return;
    }
    const oldest = Math.max(told.count, count - history.length) + 1;
    for (let n = oldest; n <= count; n++) {
      this.#tell(name, { count: n, past: history[count - n] as PastView, next: false }, n === oldest ? told.count : n - 1);
    }
  }

  /** Returns false if some came before that this reader has not heard of. */
  onUnlock(name: string, unlock: Unlock): boolean {
    const told = this.#told.get(name);
    if (!told) this.#early.push([name, unlock]);
    else if (unlock.count > told.count + 1) return false;
    else if (unlock.count === told.count + 1) this.#tell(name, unlock, told.count);
    return true;
  }

  end(failure?: Error): void {
    this.#failure ??= failure;
    this.ended = true;
    this.#wake();
  }

  async *events(): AsyncIterable<WaitForUnlockResponse> {
    while (true) {
      const events = this.#events;
      this.#events = [];
      yield* events;
      if (this.#events.length > 0) continue;
      if (this.#failure) throw this.#failure;
      if (this.ended) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #tell(name: string, { count, past, next }: Unlock, before: number): void {
    this.#told.set(name, { count, at: performance.now() });
    const value = {
      name,
      unlockCount: BigInt(count),
      previous: toPastHolder(past),
      next: next ? toHolder(next) : undefined,
      missed: BigInt(count - before - 1),
    };
    this.#push({ event: { $case: 'unlocked', value } });
  }

  /** After it failed nothing more: what was dropped then would be missing before it. */
  #push(event: WaitForUnlockResponse): void {
    if (this.#failure) return;
    if (this.#events.length >= EVENTS_MAX)
      return this.end(streamLimit(`more than ${EVENTS_MAX} events wait for a reader that does not read`));
    this.#events.push(event);
    this.#wake();
  }
}
