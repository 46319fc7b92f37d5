import type { Connection } from '../connection.js';
import { type DurationLike, toMs } from '../durations.js';
import { StafettError } from '../errors.js';
import { hashOf } from './canonical-json.js';
import type { Run } from './execution.js';
import { cancelRun, getRun, type RunName } from './run-calls.js';
import type { RunView } from './run-view.js';
import type { Runner } from './runner.js';
import { type StartOptions, startRun } from './start-run.js';
import { watchRun } from './watch-run.js';

/** The servers' own limits: one that is refused would keep all others from being offered. */
const TYPE = /^[A-Za-z0-9._-]{1,64}$/;
const CONCURRENCY_MAX = 10_000;

export interface RunDefinition<Input, Result> {
  /** Which run an input stands for. Default: a hash of its canonical JSON, so that equal inputs are one run. At most 256 bytes. */
  id?(input: Input): string;
  /**
   * The work. Without it this process only asks for runs. **It may be lost while it goes on**: watch `run.signal`, and give
   * `run.fencingToken` to whatever is written. What it returns must be JSON, at most 256 KiB.
   */
  run?(input: Input, run: Run): Promise<Result> | Result;
  /** How many runs this process takes for others at a time, of those started with `on: 'any'`. Those that it starts for itself count. 0: none. Default 1. */
  readonly concurrency?: number;
  /** How often a run is started again by itself, on a node that serves the type, when its node is lost. Default 0. */
  readonly retryOnLost?: number;
  /** How long the state of a run is kept, counted from its end: 1 s to 24 h. Default 300 s. */
  readonly resultTtl?: DurationLike;
  /** Shows the stack of an error to everybody who sees the run. Default false. */
  readonly showStack?: boolean;
}

type Signal = { readonly signal?: AbortSignal };

/** A kind of job. All methods take the input, which tells the run. */
export class RunType<Input, Result> {
  readonly #connection: Connection;
  readonly #runner: Runner;
  readonly #definition: RunDefinition<Input, Result>;

  /** @internal */
  constructor(
    readonly type: string,
    definition: RunDefinition<Input, Result>,
    connection: Connection,
    runner: Runner,
  ) {
    this.#connection = connection;
    this.#runner = runner;
    this.#definition = definition;
    const { run, concurrency = 1, showStack = false } = definition;
    if (!TYPE.test(type)) throw new TypeError(`type: ${JSON.stringify(type)}; must be 1 to 64 of the characters A–Z a–z 0–9 . _ -`);
    if (!Number.isInteger(concurrency) || concurrency < 0 || concurrency > CONCURRENCY_MAX)
      throw new TypeError(`concurrency: ${concurrency}; must be a whole number from 0 to ${CONCURRENCY_MAX}`);
    if (run) runner.serve({ type, concurrency, showStack, run: (input, context) => run(input as Input, context) });
  }

  /** The id of the run that the input stands for. */
  idOf(input: Input): string {
    return this.#definition.id?.(input) ?? hashOf(input);
  }

  /**
   * Starts the run, or tells the state of the one that is there, in one atomic step: however many ask at once, there is one.
   * @returns its state; undefined if there is none and `restartIfNotRunning` is not set.
   * @throws {StafettError} NO_RUNNER for `any` when no node serves the type; TOO_MANY_RUNS; INVALID_FIELD, e.g. for an input above 256 KiB.
   * @example const state = await report.startOrGetStatus({ customerId: '42' }, { restartIfNotRunning: true });
   */
  async startOrGetStatus(input: Input, options: StartOptions = {}): Promise<RunView<Result> | undefined> {
    const { run, retryOnLost = 0, resultTtl } = this.#definition;
    const on = options.on ?? (run ? 'here' : 'any');
    if (on === 'here' && !run) throw new TypeError(`on: ${JSON.stringify(this.type)} has no function here; use 'any'`);
    const resultTtlMs = resultTtl === undefined ? undefined : toMs(resultTtl, 'resultTtl');
    return startRun(this.#connection, this.#runner, { ...this.#name(input), input, retryOnLost, resultTtlMs, on }, options);
  }

  /**
   * The state of the run and then every state until it is over, through however many connections it takes. A run that is
   * started again by itself is followed. A reader that is slow gets the latest progress, and misses no other state.
   * @throws {StafettError} RUN_NOT_FOUND.
   * @example for await (const { status, progress } of report.watch(input)) console.log(status, progress?.percent);
   */
  watch(input: Input, { signal }: Signal = {}): AsyncGenerator<RunView<Result>> {
    return watchRun<Result>(this.#connection, this.#name(input), signal);
  }

  /**
   * Waits for the end of the run. **It has to be there already**: start it first.
   * @throws {StafettError} RUN_FAILED, RUN_CANCELLED, RUN_LOST; RUN_NOT_FOUND.
   */
  async result(input: Input, { signal }: Signal = {}): Promise<Result> {
    let last: RunView<Result> | undefined;
    for await (const state of this.watch(input, { signal } as Signal)) last = state;
    if (last?.status === 'SUCCEEDED') return last.result as Result;
    throw toError(last as RunView<Result>);
  }

  /**
   * Asks the run to stop: one that nobody has taken yet is CANCELLED, else its `run.signal` is aborted, wherever it runs.
   * @returns its state after that; how it ended before, if it has.
   * @throws {StafettError} RUN_NOT_FOUND.
   */
  cancel(input: Input, { signal }: Signal = {}): Promise<RunView<Result>> {
    return cancelRun(this.#connection, this.#name(input), signal);
  }

  /** The state of the run, or undefined if there is none. */
  get(input: Input, { signal }: Signal = {}): Promise<RunView<Result> | undefined> {
    return getRun(this.#connection, this.#name(input), signal);
  }

  #name(input: Input): RunName {
    return { type: this.type, id: this.idOf(input) };
  }
}

function toError({ type, id, runId, status, error }: RunView): StafettError {
  const metadata = { run: `${type}/${id}`, run_id: runId };
  const message = `run ${JSON.stringify(metadata.run)} is ${status}${error ? `: ${error.message}` : ''}`;
  if (status === 'CANCELLED') return new StafettError('CANCELLED', 'RUN_CANCELLED', message, { metadata });
  if (status === 'LOST') return new StafettError('ABORTED', 'RUN_LOST', message, { metadata });
  return new StafettError('UNKNOWN', 'RUN_FAILED', message, { metadata });
}
