import { randomUUID } from 'node:crypto';
import type { Connection } from '../connection.js';
import { type DurationLike, toMs, toProtoDuration } from '../durations.js';
import { StafettError, sessionLost } from '../errors.js';
import type { StartOrGetStatusRequest, StartOrGetStatusResponse } from '../gen/stafett/v1/run.js';
import type { SessionLife } from '../life.js';
import { type RunView, toRunView } from './run-view.js';
import type { Runner } from './runner.js';

export interface StartOptions {
  /** True: starts it unless it is there and not over. Default: starts nothing, only tells. */
  readonly restartIfNotRunning?: boolean;
  /** `here`: this process runs it; the default if the type has a function. `any`: the least busy node that serves the type. */
  readonly on?: 'here' | 'any';
  /**
   * Only for `any`: how long it may wait for a node that serves the type and has room; then it is FAILED. Default: 5 minutes,
   * but NO_RUNNER at once if there is no such node at all.
   */
  readonly waitForRunner?: DurationLike;
  /** Gives up to ask. It may have been started all the same. */
  readonly signal?: AbortSignal;
}

/** What is asked for: which run, and how its type is defined. */
export interface Wanted {
  readonly type: string;
  readonly id: string;
  readonly input: unknown;
  readonly retryOnLost: number;
  readonly resultTtlMs: number | undefined;
  readonly on: 'here' | 'any';
}

/** Asks until there is an answer. A grace period is waited for, a session that is lost is followed by the next. */
export async function startRun<R>(
  connection: Connection,
  runner: Runner,
  wanted: Wanted,
  options: StartOptions,
): Promise<RunView<R> | undefined> {
  const request = toRequest(wanted, options);
  const { signal } = options;
  while (true) {
    signal?.throwIfAborted();
    const askedAt = performance.now();
    const life = await connection.session({ askedAt, waitUntil: Number.POSITIVE_INFINITY }, signal);
    if (wanted.on === 'here') request.sessionId = life.id;
    try {
      const call = { ...request };
      const response = await connection.call((link, ended) => link.processes.startOrGetStatus(call, { signal: ended }), signal);
      return accept<R>(runner, life, call, response);
    } catch (cause) {
      const error = StafettError.from(cause);
      if (error.reason === 'SESSION_NOT_FOUND') life.lose(sessionLost('the server does not know it any more'));
      else if (error.reason !== 'GRACE_PERIOD') throw cause;
    }
  }
}

function accept<R>(
  runner: Runner,
  life: SessionLife,
  request: StartOrGetStatusRequest,
  { state, started, epoch }: StartOrGetStatusResponse,
): RunView<R> | undefined {
  if (!state) return undefined;
  const view = toRunView<R>(state);
  if (started && view.status === 'RUNNING' && request.sessionId === life.id && state.sessionId === life.id) {
    const { input, retryOnLost, resultTtl, requestId } = request;
    runner.begin(life, { state, input, retryOnLost, resultTtl }, { epoch, requestId });
  }
  return view;
}

function toRequest(wanted: Wanted, { restartIfNotRunning = false, waitForRunner }: StartOptions): StartOrGetStatusRequest {
  const { type, id, input, retryOnLost, resultTtlMs, on } = wanted;
  if (on === 'here' && waitForRunner !== undefined) throw new TypeError("waitForRunner: only for a start on 'any'");
  return {
    type,
    id,
    input: Buffer.from(JSON.stringify(input) ?? ''),
    restartIfNotRunning,
    sessionId: '',
    waitForRunner: waitForRunner === undefined ? undefined : toProtoDuration(toMs(waitForRunner, 'waitForRunner')),
    resultTtl: resultTtlMs === undefined ? undefined : toProtoDuration(resultTtlMs),
    retryOnLost,
    requestId: randomUUID(),
  };
}
