/** How long an acquire is prepared to wait; on the monotonic clock. */
export interface Times {
  /** When it was asked. */
  readonly askedAt: number;
  /** Until when it may wait in a queue. */
  readonly waitUntil: number;
}

interface Waiting {
  /** Or the moment when it gives up. */
  readonly times: Times | number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** After the wait, and for those who do not wait: how long a connection may take, ms. */
const GRACE_MS = 5_000;

/** Where those wait who need a connection while there is none. */
export class WaitingRoom {
  readonly #waiting = new Set<Waiting>();
  readonly #offlineTimeoutMs: number;
  readonly #unreachable: () => Error;
  #closedSince = performance.now();

  /**
   * @param offlineTimeoutMs how long those outlast a broken connection who would wait without end.
   * @param unreachable what those are told who give up.
   */
  constructor(offlineTimeoutMs: number, unreachable: () => Error) {
    this.#offlineTimeoutMs = offlineTimeoutMs;
    this.#unreachable = unreachable;
  }

  /** Resolves when there is a connection, which may be gone again when the caller looks. */
  enter(times: Times | number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const leave = () => {
        this.#waiting.delete(waiting);
        signal?.removeEventListener('abort', onAbort);
      };
      const onAbort = () => waiting.reject(signal?.reason);
      const waiting: Waiting = {
        times,
        resolve: () => {
          leave();
          resolve();
        },
        reject: (error) => {
          leave();
          reject(error);
        },
      };
      signal?.addEventListener('abort', onAbort);
      this.#waiting.add(waiting);
    });
  }

  /** There is a connection. */
  open(): void {
    for (const waiting of this.#waiting) waiting.resolve();
  }

  /** There is none any more. */
  close(): void {
    this.#closedSince = performance.now();
  }

  empty(error: Error): void {
    for (const waiting of this.#waiting) waiting.reject(error);
  }

  /** Sends those away who have waited too long. To be called from time to time while there is no connection. */
  sweep(): void {
    for (const waiting of this.#waiting) if (this.isTooLate(waiting.times)) waiting.reject(this.#unreachable());
  }

  isTooLate(times: Times | number): boolean {
    return performance.now() >= (typeof times === 'number' ? times : this.#giveUpAt(times));
  }

  #giveUpAt({ askedAt, waitUntil }: Times): number {
    if (waitUntil !== Number.POSITIVE_INFINITY) return waitUntil + GRACE_MS;
    return Math.max(askedAt, this.#closedSince) + this.#offlineTimeoutMs;
  }
}
