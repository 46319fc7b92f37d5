import type { Connection } from './connection.js';
import { type DurationLike, toMs } from './durations.js';
import type { StafettError } from './errors.js';
import { follow } from './follow.js';
import { checkCapacity, ManagedProcess } from './managed-process.js';
import { type ClusterState, type ProcessConfig, type ProcessStatus, toClusterView, toConfigView, toProtoStatus } from './process-views.js';
import { toTimeout } from './watch.js';
import type { WorkerFunction } from './worker-slot.js';

/** What a node offers to a managed process. */
export interface ManageOptions {
  /** How many workers there are to be in the cluster, if nobody has declared the process yet; afterwards `update` changes it. */
  readonly workers: number;
  /** How many of them this node may run, at most 1,000. 0: it only looks on. Default: 1,000. */
  readonly capacity?: number;
  /** Whether they are to run, if nobody has declared the process yet. Default `running`. */
  readonly status?: ProcessStatus;
  /** How long a worker may take to stop before its `abortSignal` is aborted and its slot is shown as OVERDUE. Default 30 s. */
  readonly drainTimeout?: DurationLike;
  /** What this node is called. Default: the `host` of the client. */
  readonly node?: string;
  /** Told whenever a server refuses the node. It tries again, unless that is hopeless. Default: a warning of the process. */
  onError?(error: StafettError): void;
}

/** What is to be changed. */
export interface ProcessUpdate {
  readonly workers?: number;
  readonly status?: ProcessStatus;
  /** Only if the config has this revision. */
  readonly revision?: bigint;
}

const DRAIN_TIMEOUT_MS = 30_000;
/** How long workers may take to stop when the client is closed, ms. */
const CLOSE_MS = 2_000;

/** Managed processes: work that runs as so many workers in the whole cluster, and no more. */
export class Processes {
  readonly #connection: Connection;
  readonly #managed = new Map<string, ManagedProcess>();

  /** @internal */
  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /**
   * Makes this process a node of a managed process, and declares that if nobody has: the servers spread its numbered worker slots
   * evenly over all nodes, within their capacities. `work` is called for each slot that this node is given, and again
   * whenever it returns or throws, after a growing pause, until `worker.signal` is aborted.
   * **A worker must stop when its signal is aborted**: until then its slot stays here, and no other worker is started for it.
   * @throws {TypeError} for an option that is wrong, and when this client has joined the process already.
   * @example
   * const mail = stafett.processes.manage('mail-sender', { workers: 6, capacity: 4 }, async (worker) => {
   *   while (!worker.signal.aborted) await sendNext(worker.slot, worker.of, worker.fencingToken);
   * });
   */
  manage(name: string, options: ManageOptions, work: WorkerFunction): ManagedProcess {
    if (this.#managed.has(name)) throw new TypeError(`this client has joined ${JSON.stringify(name)} already`);
    const { workers, status = 'running', capacity = 1_000, drainTimeout = DRAIN_TIMEOUT_MS, node, onError = warn } = options;
    if (!Number.isInteger(workers) || workers < 0) throw new TypeError(`workers: ${workers}; must be a whole number from 0 on`);
    checkCapacity(capacity);
    const settings = {
      declared: { workers, status: toProtoStatus(status), revision: 0n, updateTime: undefined },
      capacity,
      node: node ?? '',
      drainTimeoutMs: toMs(drainTimeout, 'drainTimeout'),
      onError,
    };
    const managed = new ManagedProcess(this.#connection, name, settings, work);
    this.#managed.set(name, managed);
    void managed.ended.then(() => this.#managed.delete(name));
    return managed;
  }

  /** One managed process: its config, its nodes, and the state of each slot. @throws {StafettError} PROCESS_NOT_FOUND. */
  async get(name: string, { signal }: { signal?: AbortSignal } = {}): Promise<ClusterState> {
    const { state } = await this.#connection.call((link, ended) => link.processes.getProcess({ name }, { signal: ended }), signal);
    return toClusterView(state as NonNullable<typeof state>);
  }

  /** The managed processes by name, without their nodes and slots. */
  async *list({ signal }: { signal?: AbortSignal } = {}): AsyncGenerator<ClusterState> {
    for (let pageToken = ''; ; ) {
      const request = { pageToken, pageSize: 0 };
      const page = await this.#connection.call((link, ended) => link.processes.listProcesses(request, { signal: ended }), signal);
      yield* page.processes.map(toClusterView);
      if (page.nextPageToken === '') return;
      pageToken = page.nextPageToken;
    }
  }

  /**
   * Changes how many workers there are to be, or stops or starts them, while they run, from anywhere. With a `revision` only if
   * nobody else has changed it; it is not repeated then when the connection breaks.
   * @throws {StafettError} PROCESS_NOT_FOUND, REVISION_MISMATCH.
   * @example await stafett.processes.update('mail-sender', { workers: 4 });
   */
  async update(name: string, update: ProcessUpdate, { signal }: { signal?: AbortSignal } = {}): Promise<ProcessConfig> {
    const { workers, status, revision } = update;
    const updateMask = [...(workers === undefined ? [] : ['workers']), ...(status === undefined ? [] : ['status'])];
    const config = { workers: workers ?? 0, status: toProtoStatus(status ?? 'running'), revision: 0n, updateTime: undefined };
    const request = { name, config, updateMask, revision: revision ?? 0n };
    const { config: updated } = await this.#connection.call(
      (link, ended) => link.processes.updateProcess(request, { signal: ended }),
      signal,
      revision === undefined,
    );
    return toConfigView(updated as NonNullable<typeof updated>);
  }

  /** Forgets a managed process that all nodes have left. @throws {StafettError} PROCESS_NOT_FOUND, PROCESS_IN_USE. */
  async delete(name: string, { signal }: { signal?: AbortSignal } = {}): Promise<void> {
    await this.#connection.call((link, ended) => link.processes.deleteProcess({ name }, { signal: ended }), signal);
  }

  /**
   * The state of a managed process, and then again after each change, through however many connections it takes. A slow reader
   * gets the latest state, not each. Ends at the timeout; an abort of the signal throws its reason.
   * @example for await (const state of stafett.processes.watch('mail-sender')) console.log(state.runningWorkers);
   */
  async *watch(name: string, options: { timeout?: DurationLike; signal?: AbortSignal } = {}): AsyncGenerator<ClusterState> {
    const { timeout, signal } = options;
    const until = timeout === undefined ? Number.POSITIVE_INFINITY : performance.now() + toMs(timeout, 'timeout');
    const responses = follow(this.#connection, {
      until,
      signal,
      open: (link, ended) => link.processes.watchProcess({ name, timeout: toTimeout(until) }, { signal: ended }),
    });
    for await (const { state } of responses) if (state) yield toClusterView(state);
  }

  /** @internal Leaves all of them. @returns whether all workers have stopped in time. */
  async close(): Promise<boolean> {
    const all = [...this.#managed.values()];
    if (all.length === 0) return true;
    const stopped = Promise.all(all.map((managed) => managed.stop()));
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise((resolve) => {
      timer = setTimeout(resolve, CLOSE_MS);
    });
    await Promise.race([stopped, late]);
    clearTimeout(timer);
    return all.every(({ busy }) => !busy);
  }
}

function warn(error: StafettError): void {
  process.emitWarning(`${error.reason}: ${error.message}`, 'StafettWarning');
}
