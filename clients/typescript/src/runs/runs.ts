import type { Connection } from '../connection.js';
import { cancelRun, getRun, type ListRunsOptions, listRuns } from './run-calls.js';
import { type RunDefinition, RunType } from './run-type.js';
import type { RunView } from './run-view.js';
import { Runner } from './runner.js';
import { watchRun } from './watch-run.js';

type Signal = { readonly signal?: AbortSignal };

/**
 * Ad-hoc processes: jobs that start once, wherever and however often they are asked for. At any time at most one run of a
 * type and id goes on. It hangs on the session of the process that runs it, and is LOST when that is.
 */
export class Runs {
  readonly #connection: Connection;
  readonly #runner: Runner;

  /** @internal */
  constructor(connection: Connection) {
    this.#connection = connection;
    this.#runner = new Runner(connection);
  }

  /**
   * Defines a type of job, once in each process. With a function this process runs it: for itself, and from now on, until the client
   * is closed, also for others, unless `concurrency` is 0.
   * @param type 1 to 64 of the characters A–Z a–z 0–9 `.` `_` `-`.
   * @throws {TypeError} for a definition that is wrong, or a type that is defined already.
   * @example
   * const report = stafett.runs.define('yearly-report', {
   *   id: (input: { customerId: string }) => input.customerId,
   *   run: async (input, run) => {
   *     await run.progress({ percent: 40, message: 'reading' });
   *     return { pages: 12 };
   *   },
   * });
   */
  define<Input, Result = unknown>(type: string, definition: RunDefinition<Input, Result> = {}): RunType<Input, Result> {
    return new RunType(type, definition, this.#connection, this.#runner);
  }

  /** The runs that are remembered, by type and id, without their results. */
  list(options: ListRunsOptions = {}): AsyncGenerator<RunView> {
    return listRuns(this.#connection, options);
  }

  /** For operators: one run, or undefined if there is none. */
  get(type: string, id: string, { signal }: Signal = {}): Promise<RunView | undefined> {
    return getRun(this.#connection, { type, id }, signal);
  }

  /** For operators: as `watch` of its type. */
  watch(type: string, id: string, { signal }: Signal = {}): AsyncGenerator<RunView> {
    return watchRun(this.#connection, { type, id }, signal);
  }

  /** For operators: as `cancel` of its type. */
  cancel(type: string, id: string, { signal }: Signal = {}): Promise<RunView> {
    return cancelRun(this.#connection, { type, id }, signal);
  }
}
