import { ClientError, Status } from 'nice-grpc-common';
import { RichClientError } from 'nice-grpc-error-details';
import { ErrorReason, type Error as PipelineError } from './gen/stafett/v1/error.js';

/** Reasons that the client gives by itself; all others are the server's, see `ErrorReason` in the protos. */
export type ClientReason =
  | 'SESSION_LOST'
  | 'LOCK_LOST'
  | 'LOCK_REVOKED'
  | 'LOCK_RELEASED'
  | 'STALE_TOKEN'
  | 'TOO_MANY_PENDING'
  | 'CONNECTION_FAILED'
  | 'CLOSED';

export interface StafettErrorOptions extends ErrorOptions {
  readonly metadata?: Readonly<Record<string, string>>;
  readonly retryDelayMs?: number | undefined;
}

/** Everything that goes wrong with Stafett, from the server or in the client. */
export class StafettError extends Error {
  override readonly name: string = 'StafettError';
  /** Facts for programs; docs/errors.md lists the keys of each reason. */
  readonly metadata: Readonly<Record<string, string>>;
  /** When a retry may help: how long to wait before it, ms. */
  readonly retryDelayMs: number | undefined;

  constructor(
    /** The gRPC status, e.g. `FAILED_PRECONDITION`. */
    readonly code: keyof typeof Status,
    /** Why, e.g. `LOCK_NOT_HELD`; docs/errors.md tells cause and cure of each. */
    readonly reason: string,
    message: string,
    { metadata = {}, retryDelayMs, ...options }: StafettErrorOptions = {},
  ) {
    super(message, options);
    this.metadata = metadata;
    this.retryDelayMs = retryDelayMs;
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
    retryDelayMs: delay && Number(delay.seconds) * 1000 + delay.nanos / 1e6,
  });
}

/** From a refused command of a pipeline. */
export function fromPipelineError({ code, reason, message, metadata, retryDelay }: PipelineError): StafettError {
  const retryDelayMs = retryDelay && Number(retryDelay.seconds) * 1000 + retryDelay.nanos / 1e6;
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

export function lockLost(names: readonly string[], cause: unknown): StafettError {
  const why = cause instanceof Error ? cause.message : 'it is no longer held';
  return new StafettError(
    'FAILED_PRECONDITION',
    'LOCK_LOST',
    `the lock on ${names.map((n) => JSON.stringify(n)).join(', ')} is lost: ${why}`,
    {
      cause,
      metadata: { names: JSON.stringify(names) },
    },
  );
}

/** Is it worth to ask again, perhaps another server? */
export function isUnavailable(error: unknown): boolean {
  return error instanceof ClientError && (error.code === Status.UNAVAILABLE || error.code === Status.CANCELLED);
}
