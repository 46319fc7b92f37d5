import type { LockServiceClient, LockState, UnlockEvent } from '../../server/src/gen/stafett/v1/lock.js';
import { toDuration } from './stub-duration.js';

/** A WaitForUnlock under way, and all that it told so far. */
export class StubWatch {
  readonly snapshots: LockState[] = [];
  readonly unlocks: UnlockEvent[] = [];
  /** Resolves when the last of the snapshots is there. Rejects if the stream ends before. */
  readonly ready: Promise<void>;
  /** How the stream ended: undefined for OK. */
  readonly ended: Promise<unknown>;
  readonly #abort = new AbortController();

  constructor(locks: LockServiceClient, names: string[], timeoutMs?: number) {
    let onReady = () => {};
    let onFailure = (_: unknown) => {};
    this.ready = new Promise((resolve, reject) => {
      onReady = resolve;
      onFailure = reject;
    });
    this.ready.catch(() => {}); // for those who do not wait for it
    const request = { names, ...(timeoutMs !== undefined && { timeout: toDuration(timeoutMs) }) };
    const read = async () => {
      for await (const { event } of locks.waitForUnlock(request, { signal: this.#abort.signal })) {
        if (event?.$case === 'snapshot') this.snapshots.push(event.value);
        else if (event?.$case === 'unlocked') this.unlocks.push(event.value);
        else throw new Error('a WaitForUnlockResponse without an event');
        if (this.snapshots.length === names.length) onReady();
      }
    };
    this.ended = read().then(
      () => undefined,
      (error: unknown) => error,
    );
    void this.ended.then((error) => onFailure(error ?? new Error('the watch has ended')));
  }

  /** Goes away. */
  stop(): void {
    this.#abort.abort();
  }
}
