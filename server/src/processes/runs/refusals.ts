import { Status } from 'nice-grpc-common';
import type { RunView } from '../../engine/run-commands.js';
import { ErrorReason } from '../../gen/stafett/v1/error.js';
import { RunStatus } from '../../gen/stafett/v1/run.js';
import { StafettError } from '../../rpc/errors.js';

const RETRY_MS = 1_000;

/** A type and id for people: quoted, and safe to print. */
function quote(ref: string): string {
  return JSON.stringify(ref);
}

export function runNotFound(ref: string): StafettError {
  return new StafettError(
    Status.NOT_FOUND,
    ErrorReason.RUN_NOT_FOUND,
    `there is no run ${quote(ref)}: it never was, or its state is not kept any more; start it if it is needed`,
    { run: ref },
  );
}

export function runNotCurrent(ref: string, runId: string, present: RunView | false): StafettError {
  return new StafettError(
    Status.FAILED_PRECONDITION,
    ErrorReason.RUN_NOT_CURRENT,
    `run ${runId} of ${quote(ref)} is not this session’s to report on: ${describe(runId, present)}; stop it, its result counts no more`,
    { run: ref, run_id: runId, ...(present && { present_run_id: String(present[1].run), present_status: RunStatus[present[1].status] }) },
  );
}

function describe(runId: string, present: RunView | false): string {
  if (!present) return 'nothing is known of it';
  const [, { run, status }] = present;
  if (String(run) !== runId) return `run ${run} has taken its place`;
  return status === RunStatus.RUNNING ? 'another session runs it' : `it is ${RunStatus[status]}`;
}

export function noRunner(type: string): StafettError {
  return new StafettError(
    Status.FAILED_PRECONDITION,
    ErrorReason.NO_RUNNER,
    `no node serves runs of the type ${quote(type)}; start one, or wait for one with wait_for_runner`,
    { type },
  );
}

export function tooManyRuns(): StafettError {
  return new StafettError(
    Status.RESOURCE_EXHAUSTED,
    ErrorReason.TOO_MANY_RUNS,
    'the namespace has as many runs as it may have; keep results for a shorter time, or raise STAFETT_MAX_RUNS',
    {},
    RETRY_MS,
  );
}

/** What came by a connection that its client has replaced. */
export function startedTooLate(): StafettError {
  return new StafettError(Status.CANCELLED, ErrorReason.CANCELLED, 'the call came by a connection that its client has given up');
}
