import { ClientError, Status } from 'nice-grpc-common';
import { RichClientError } from 'nice-grpc-error-details';
import { fromProtoDuration } from './durations.js';
import { ErrorReason, type Error as PipelineError } from './gen/stafett/v1/error.js';
import type { ContentionView } from './views.js';

/** Reasons that the client gives by itself; all others are the server's, see `ErrorReason` in the protos. */
export type ClientReason =
  /** FAILED_PRECONDITION: the session's deadline has passed, or the server does not know it any more. */
  | 'SESSION_LOST'
  /** FAILED_PRECONDITION: the lock is, or may be, held by somebody else. The `cause` is SESSION_LOST, LOCK_REVOKED or CLOSED. */
  | 'LOCK_LOST'
  /** FAILED_PRECONDITION: an operator took the lock away by `forceRelease`. */
  | 'LOCK_REVOKED'
  /** FAILED_PRECONDITION: it was given back by its own holder; a defect of the caller. */
  | 'LOCK_RELEASED'
  /** DEADLINE_EXCEEDED: `acquire` or `run` waited for its `waitTimeout` in vain. `contention` says who was in the way. */
  | 'WAIT_TIMEOUT'
  /** FAILED_PRECONDITION: a resource has seen a higher fencing token. */
  | 'STALE_TOKEN'
  /** UNKNOWN: a run failed; its error is the message, and the run is in `metadata`. */
  | 'RUN_FAILED'
  /** CANCELLED: a run was cancelled. Also the reason of the signal of one that is to be. */
  | 'RUN_CANCELLED'
  /** ABORTED: the node of a run is gone, and nobody knows how far it came. */
  | 'RUN_LOST'
  /** RESOURCE_EXHAUSTED: too many acquires of this client wait for an answer. */
  | 'TOO_MANY_PENDING'
  /** UNAVAILABLE: no server could be reached for as long as the caller allows. */
  | 'CONNECTION_FAILED'
  /** DATA_LOSS: the answer of an instance is not what the instance sent, or not all of it. */
  | 'ANSWER_INCOMPLETE'
  /** CANCELLED: a worker of a managed process is to stop. */
  | 'WORKER_DRAINING'
  /** DEADLINE_EXCEEDED: a worker of a managed process did not stop within its drain timeout. */
  | 'WORKER_OVERDUE'
  /** FAILED_PRECONDITION: what was set does not fit the schema of a live setting. The `cause` is the schema's error. */
  | 'INVALID_SETTING'
  /** CANCELLED: the client was closed, or the node has left the process. */
  | 'CLOSED';

export interface StafettErrorOptions extends ErrorOptions {
  readonly metadata?: Readonly<Record<string, string>>;
  readonly retryDelayMs?: number | undefined;
  readonly contention?: ContentionView;
  readonly value?: unknown;
}

/**
 * Everything that goes wrong with Stafett, from the server or in the client: one class, told apart by `reason`.
 * @example
 * catch (error) {
 *   if (StafettError.from(error).reason === 'LOCK_LOST') …
 * }
 */
export class StafettError extends Error {
  override readonly name: string = 'StafettError';
  /** Facts for programs; docs/errors.md lists the keys of each reason. */
  readonly metadata: Readonly<Record<string, string>>;
  /** When a retry may help: how long to wait before it, ms. */
  readonly retryDelayMs: number | undefined;
  /** Who was in the way; of WAIT_TIMEOUT. */
  declare readonly contention?: ContentionView;
  /** Of LOCK_LOST from `run` or `tryRun`: what the work returned. **Others may have worked on the same meanwhile.** */
  declare readonly value?: unknown;

  constructor(
    /** The gRPC status, e.g. `FAILED_PRECONDITION`. */
    readonly code: keyof typeof Status,
    /** Why, e.g. `LOCK_NOT_HELD`; docs/errors.md tells cause and cure of each. */
    readonly reason: string,
    message: string,
    { metadata = {}, retryDelayMs, contention, value, cause }: StafettErrorOptions = {},
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.metadata = metadata;
    this.retryDelayMs = retryDelayMs;
    if (contention !== undefined) this.contention = contention;
    if (value !== undefined) this.value = value;
  }

  /** Makes a `StafettError` of whatever was thrown. */
  static from(error: unknown): StafettError {
    if (error instanceof StafettError) return error;
    if (error instanceof ClientError) return fromClientError(error);
    return new StafettError('UNKNOWN', 'UNKNOWN', error instanceof Error ? error.message : String(error), { cause: error });
  }
}

function fromClientError(error: ClientError): StafettError {
  const extra = error instanceof RichClientError ? error.extra : [];
  const info = extra.find((detail) => detail.$type === 'google.rpc.ErrorInfo');
  const retry = extra.find((detail) => detail.$type === 'google.rpc.RetryInfo');
  const delay = retry && 'retryDelay' in retry ? retry.retryDelay : undefined;
  return new StafettError(codeName(error.code), info && 'reason' in info ? info.reason : codeName(error.code), error.details, {
    cause: error,
    metadata: info && 'metadata' in info ? info.metadata : {},
    retryDelayMs: delay && fromProtoDuration(delay),
  });
}

/** From a refused command of a pipeline. */
export function fromPipelineError({ code, reason, message, metadata, retryDelay }: PipelineError): StafettError {
  const retryDelayMs = retryDelay && fromProtoDuration(retryDelay);
  return new StafettError(codeName(code), ErrorReason[reason] ?? 'UNKNOWN', message, { metadata, retryDelayMs });
}

function codeName(code: number): keyof typeof Status {
  return (Status[code] as keyof typeof Status | undefined) ?? 'UNKNOWN';
}

export function closed(): StafettError {
  return new StafettError('CANCELLED', 'CLOSED', 'this client was closed');
}

export function sessionLost(why: string): StafettError {
  return new StafettError('FAILED_PRECONDITION', 'SESSION_LOST', `the session is lost: ${why}; whatever it held may be held by others now`);
}

export function lockRevoked(lockId: string): StafettError {
  return new StafettError('FAILED_PRECONDITION', 'LOCK_REVOKED', 'an operator took the lock away', { metadata: { lock_id: lockId } });
}

export function lockAssertedByAnother(lockId: string): StafettError {
  const message = 'Redis lost its data, and the lock was not asserted in time or is another’s now';
  return new StafettError('FAILED_PRECONDITION', 'LOCK_REVOKED', message, { metadata: { lock_id: lockId } });
}

export function lockReleased(names: readonly string[]): StafettError {
  return new StafettError('FAILED_PRECONDITION', 'LOCK_RELEASED', `the lock on ${quote(names)} was released`);
}

export function lockLost(names: readonly string[], cause: unknown): StafettError {
  const why = cause instanceof Error ? cause.message : 'it is no longer held';
  const metadata = { names: JSON.stringify(names) };
  return new StafettError('FAILED_PRECONDITION', 'LOCK_LOST', `the lock on ${quote(names)} is lost: ${why}`, { cause, metadata });
}

/** The work under a lock came to an end, but the lock did not hold so long. */
export function lostMeanwhile({ message, cause, metadata }: StafettError, value: unknown): StafettError {
  return new StafettError('FAILED_PRECONDITION', 'LOCK_LOST', `${message}. The work went on to its end; do not trust its result`, {
    cause,
    metadata,
    value,
  });
}

export function waitTimeout(names: readonly string[], contention: ContentionView): StafettError {
  const [blocker] = contention.blockers;
  const { client = '', host = '', purpose = '' } = blocker?.holder ?? {};
  const who = [client, host, purpose].filter(Boolean).join(', ') || 'somebody';
  const what = `${quote(names)} did not become available in time`;
  return new StafettError(
    'DEADLINE_EXCEEDED',
    'WAIT_TIMEOUT',
    blocker?.holder ? `${what}: ${quote([blocker.name])} is held by ${who}` : what,
    {
      metadata: { names: JSON.stringify(names) },
      contention,
    },
  );
}

export function processLeft(name: string): StafettError {
  return new StafettError('CANCELLED', 'CLOSED', `this node has left ${quote([name])}`);
}

export function workerDraining(): StafettError {
  return new StafettError('CANCELLED', 'WORKER_DRAINING', 'the worker is to stop: it is no longer wanted here');
}

export function workerOverdue(drainTimeoutMs: number): StafettError {
  const message = `the worker has not stopped within its drain timeout of ${drainTimeoutMs} ms; it keeps its slot until it does`;
  return new StafettError('DEADLINE_EXCEEDED', 'WORKER_OVERDUE', message);
}

export function answerIncomplete(why: string, cause?: unknown): StafettError {
  const message = `the answer of the instance is not complete: ${why}; do not use what came of it`;
  return new StafettError('DATA_LOSS', 'ANSWER_INCOMPLETE', message, { cause });
}

/** The server says that a grant is not, or no longer, held. */
export function isNotHeld(error: unknown): boolean {
  return error instanceof StafettError && error.reason === 'LOCK_NOT_HELD';
}

/** No server can answer it now; another one, or this one later, may. */
export function isUnavailable(error: unknown): boolean {
  const { code } = StafettError.from(error);
  // CANCELLED is what a call is told whose connection was given up under it.
  return code === 'UNAVAILABLE' || (error instanceof ClientError && code === 'CANCELLED');
}

/** Asking again would change nothing. */
export function isHopeless(error: unknown): boolean {
  return HOPELESS.has(StafettError.from(error).code);
}

const HOPELESS: ReadonlySet<string> = new Set(['INVALID_ARGUMENT', 'UNAUTHENTICATED', 'PERMISSION_DENIED', 'UNIMPLEMENTED']);

function quote(names: readonly string[]): string {
  return names.map((name) => JSON.stringify(name)).join(', ');
}
