import { Status } from 'nice-grpc-common';
import { ErrorReason } from '../gen/stafett/v1/error.js';

export type Metadata = Record<string, string>;

/**
 * A refusal that the caller is meant to see: a gRPC status, one reason of a fixed list, facts for programs and a sentence
 * for people. Everything else that is thrown is a defect: it is logged and answered as INTERNAL without its text.
 */
export class StafettError extends Error {
  override readonly name = 'StafettError';

  constructor(
    readonly status: Status,
    readonly reason: ErrorReason,
    message: string,
    readonly metadata: Metadata = {},
    /** When a retry may help: how long to wait before it, in ms. */
    readonly retryDelayMs?: number,
  ) {
    super(message);
  }
}

export function invalidField(field: string, problem: string): StafettError {
  return new StafettError(Status.INVALID_ARGUMENT, ErrorReason.INVALID_FIELD, `${field}: ${problem}`, { field });
}

export function redisUnavailable(retryDelayMs = 500): StafettError {
  return new StafettError(
    Status.UNAVAILABLE,
    ErrorReason.REDIS_UNAVAILABLE,
    'the server cannot reach its Redis; try again, it reconnects by itself',
    {},
    retryDelayMs,
  );
}

export function tooManyNamespaces(): StafettError {
  return new StafettError(
    Status.RESOURCE_EXHAUSTED,
    ErrorReason.TOO_MANY_NAMESPACES,
    'the server knows as many namespaces as it may; use one for each application, or raise STAFETT_MAX_NAMESPACES',
    {},
    60_000,
  );
}

export function streamLimit(what: string): StafettError {
  return new StafettError(Status.RESOURCE_EXHAUSTED, ErrorReason.STREAM_LIMIT, what, {}, 1_000);
}

export function shuttingDown(): StafettError {
  return new StafettError(
    Status.UNAVAILABLE,
    ErrorReason.SHUTTING_DOWN,
    'this server is stopping; try another server, or this one again',
    {},
    200,
  );
}

export function gracePeriod(leftMs: number): StafettError {
  return new StafettError(
    Status.UNAVAILABLE,
    ErrorReason.GRACE_PERIOD,
    `Redis lost its data or is new; nothing is granted for another ${Math.ceil(leftMs / 1000)} s, in which those who hold something say so; ` +
      'try again then, or wait with a wait_timeout',
    {},
    leftMs,
  );
}

/** True for what a cancelled call throws: nobody is there any more to hear of it. */
export function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}
