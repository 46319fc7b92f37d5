import type { RunView } from '../../engine/run-commands.js';
import { type RunState, RunStatus } from '../../gen/stafett/v1/run.js';
import type { ClientInfo } from '../../gen/stafett/v1/session.js';
import { toTimestamp } from '../../rpc/fields.js';

/** Is it over, and not followed by another that was started in its place? */
export function isFinal([, { status, next }]: RunView): boolean {
  return isOver(status) && next === 0;
}

export function isOver(status: RunStatus): boolean {
  return status > RunStatus.RUNNING;
}

function toNode(owner: string): ClientInfo | undefined {
  if (owner === '') return undefined;
  const [name = '', version = '', host = ''] = JSON.parse(owner) as string[];
  return { name, version, host };
}

function time(ms: number) {
  return ms > 0 ? toTimestamp(ms) : undefined;
}

export function toRunState([ref, run, result]: RunView): RunState {
  const slash = ref.indexOf('/');
  const { status, percent, message, err, stack } = run;
  const hasProgress = percent > 0 || message !== '';
  return {
    type: ref.slice(0, slash),
    id: ref.slice(slash + 1),
    runId: String(run.run),
    status,
    fencingToken: BigInt(run.run),
    sessionId: run.sid,
    node: toNode(run.owner),
    createTime: time(run.asked),
    startTime: time(run.started),
    stopTime: time(run.stopped),
    expireTime: time(run.forget),
    progress: hasProgress ? { percent, message } : undefined,
    result: Buffer.from(result),
    error: status === RunStatus.FAILED || status === RunStatus.LOST ? { message: err, stack } : undefined,
    cancelRequested: run.cancel === 1,
    attempt: run.attempt,
    nextRunId: run.next > 0 ? String(run.next) : '',
    revision: BigInt(run.rev),
  };
}

/** For lists, which are not to grow with what runs return. */
export function toListedRun(view: RunView): RunState {
  const state = toRunState(view);
  return state.error ? { ...state, error: { message: state.error.message, stack: '' } } : state;
}
