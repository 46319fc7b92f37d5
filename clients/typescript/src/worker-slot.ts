import { setTimeout as sleep } from 'node:timers/promises';
import { workerDraining, workerOverdue } from './errors.js';
import type { Grant } from './grant.js';
import type { SlotState } from './process-views.js';
import { lookingSignal } from './signals.js';

/** What a worker function is given. */
export interface Worker {
  /** Which of the workers it is, from 0 on. No other worker in the cluster has this number at the same time. */
  readonly slot: number;
  /** How many workers there are to be in the cluster now: it changes when an admin changes that, while this worker goes on. */
  readonly of: number;
  /** Higher for every later worker. Give it to whatever is written, so that a worker of the past can be refused. */
  readonly fencingToken: bigint;
  /**
   * Aborted when the worker is to stop: finish what is under way, begin nothing new, and return. Its reason is WORKER_DRAINING, for
   * which there is time until the drain timeout; or SESSION_LOST: **stop at once, another worker may soon be started in this
   * place**. Compares with the clock each time it is asked.
   */
  readonly signal: AbortSignal;
  /** Aborted when there is no more time: at the drain timeout, or at once when the session is lost. For calls that can be broken off. */
  readonly abortSignal: AbortSignal;
}

/** Runs as long as there is work to do, and stops when `worker.signal` is aborted. If it returns or throws before, it is started again. */
export type WorkerFunction = (worker: Worker) => Promise<unknown> | unknown;

export interface WorkerSlotOptions {
  readonly slot: number;
  readonly grant: Grant;
  readonly work: WorkerFunction;
  readonly drainTimeoutMs: number;
  /** How many workers there are to be. */
  workers(): number;
  /** A worker of this process that has the same number and has not stopped yet, though its session was lost. */
  readonly previous: WorkerSlot | undefined;
  /** Its state is another. */
  onChange(slot: WorkerSlot): void;
}

/** The pause before a worker is started again, ms: doubled each time, up to the last. */
const FIRST_PAUSE_MS = 100;
const LAST_PAUSE_MS = 30_000;
/** A worker that ran for so long is not failing again and again, ms. */
const GOOD_MS = 60_000;
const ERROR_BYTES_MAX = 1_024;

/** One slot in the hands of this node: runs its worker, again and again, until it is to stop; gives the slot back only then. */
export class WorkerSlot {
  readonly slot: number;
  readonly grant: Grant;
  /** Resolves when the worker has stopped and the slot is given back. */
  readonly ended: Promise<void>;
  state: Exclude<SlotState, 'PENDING'> = 'GRANTED';
  restarts = 0;
  lastError = '';
  readonly #options: WorkerSlotOptions;
  readonly #stop = new AbortController();
  readonly #abort = new AbortController();
  readonly #worker: Worker;
  #drainTimer: NodeJS.Timeout | undefined;

  constructor(options: WorkerSlotOptions) {
    const { slot, grant, workers } = options;
    this.slot = slot;
    this.grant = grant;
    this.#options = options;
    grant.onLost((reason) => this.#lose(reason));
    this.#worker = {
      slot,
      fencingToken: grant.fencingToken,
      signal: lookingSignal(this.#stop, () => this.#look()),
      abortSignal: lookingSignal(this.#abort, () => this.#look()),
      get of() {
        return workers();
      },
    };
    this.ended = this.#run();
  }

  /** Tells the worker to stop. */
  drain(): void {
    if (this.#stop.signal.aborted) return;
    const { drainTimeoutMs } = this.#options;
    this.#stop.abort(workerDraining());
    this.#set('DRAINING');
    this.#drainTimer = setTimeout(() => {
      this.#abort.abort(workerOverdue(drainTimeoutMs));
      this.#set('OVERDUE');
    }, drainTimeoutMs);
  }

  async #run(): Promise<void> {
    const { previous, grant } = this.#options;
    await previous?.ended;
    for (let failures = 0; !this.#worker.signal.aborted; failures++) {
      this.#set('RUNNING');
      const since = performance.now();
      await this.#work();
      if (this.#worker.signal.aborted) break;
      if (performance.now() - since >= GOOD_MS) failures = 0;
      this.restarts++;
      this.#set('RESTARTING');
      const pauseMs = Math.min(LAST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** failures) * (0.75 + Math.random() / 4);
      await sleep(pauseMs, undefined, { signal: this.#worker.signal }).catch(() => {});
    }
    clearTimeout(this.#drainTimer);
    await grant.leave()?.catch(() => {}); // it was lost meanwhile: the worker has stopped all the same
  }

  async #work(): Promise<void> {
    try {
      await this.#options.work(this.#worker);
    } catch (error) {
      if (!this.#worker.signal.aborted) this.lastError = describe(error);
    }
  }

  #look(): void {
    const { lost } = this.grant;
    if (lost) this.#lose(lost);
  }

  #lose(reason: unknown): void {
    clearTimeout(this.#drainTimer);
    this.#stop.abort(reason);
    this.#abort.abort(reason);
  }

  #set(state: WorkerSlot['state']): void {
    this.state = state;
    this.#options.onChange(this);
  }
}

/** Cut to what servers take, at a whole character. */
function describe(error: unknown): string {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return new TextDecoder().decode(Buffer.from(text).subarray(0, ERROR_BYTES_MAX - 3)).replace(/\uFFFD+$/, '…');
}
