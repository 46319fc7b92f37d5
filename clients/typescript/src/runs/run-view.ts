import type { Timestamp } from '../gen/google/protobuf/timestamp.js';
import { type RunState, RunStatus } from '../gen/stafett/v1/run.js';
import { toDate } from '../views.js';

/** `PENDING`: waits for a node. The last four are final. `LOST`: its node is gone, and nobody knows how far it came. */
export type RunStatusName = 'PENDING' | 'RUNNING' | 'SUCCEEDED' | 'FAILED' | 'CANCELLED' | 'LOST';

export interface RunProgress {
  /** 0 to 100. */
  readonly percent: number;
  /** What it is doing. At most 1 KiB. */
  readonly message: string;
}

/** One run, as it stands. Times are by the clock of Redis. */
export interface RunView<Result = unknown> {
  readonly type: string;
  readonly id: string;
  /** This execution of it. */
  readonly runId: string;
  readonly status: RunStatusName;
  /** Higher for each later run: give it to what the run writes to. */
  readonly fencingToken: bigint;
  /** The session that runs it; empty while it is PENDING. */
  readonly sessionId: string;
  /** Who is behind that session. */
  readonly node: { readonly client: string; readonly version: string; readonly host: string } | undefined;
  readonly createTime: Date;
  readonly startTime: Date | undefined;
  readonly stopTime: Date | undefined;
  /** When the state of an ended run will be forgotten. */
  readonly expireTime: Date | undefined;
  readonly progress: RunProgress | undefined;
  /** What it returned, when it has SUCCEEDED; not in lists. */
  readonly result: Result | undefined;
  /** Why it is FAILED or LOST; the stack only if its type shows it. */
  readonly error: { readonly message: string; readonly stack: string | undefined } | undefined;
  readonly cancelRequested: boolean;
  /** 1, and one more each time that it was started again by itself. */
  readonly attempt: number;
  /** Of a run that is LOST: the one that was started in its place by itself. */
  readonly nextRunId: string | undefined;
  /** Counts the states of this type and id. */
  readonly revision: bigint;
}

export function toRunView<Result>(state: RunState): RunView<Result> {
  const { node, error, nextRunId } = state;
  return {
    type: state.type,
    id: state.id,
    runId: state.runId,
    status: (RunStatus[state.status] ?? 'RUNNING') as RunStatusName,
    fencingToken: state.fencingToken,
    sessionId: state.sessionId,
    node: node && { client: node.name, version: node.version, host: node.host },
    createTime: toDate(state.createTime),
    startTime: optional(state.startTime),
    stopTime: optional(state.stopTime),
    expireTime: optional(state.expireTime),
    progress: state.progress,
    result: fromJson(state.result) as Result | undefined,
    error: error && { message: error.message, stack: error.stack || undefined },
    cancelRequested: state.cancelRequested,
    attempt: state.attempt,
    nextRunId: nextRunId || undefined,
    revision: state.revision,
  };
}

function optional(time: Timestamp | undefined): Date | undefined {
  return time && toDate(time);
}

export function fromJson(bytes: Uint8Array): unknown {
  return bytes.length === 0 ? undefined : JSON.parse(Buffer.from(bytes).toString());
}

/** Nothing more will come of it. */
export function isFinal({ status, nextRunId }: RunView): boolean {
  return status !== 'PENDING' && status !== 'RUNNING' && nextRunId === undefined;
}
