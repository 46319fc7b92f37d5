import { Status } from 'nice-grpc-common';
import { ErrorReason } from '../gen/stafett/v1/error.js';
import { StafettError } from '../rpc/errors.js';

export function sessionNotFound(sessionId: string): StafettError {
  return new StafettError(
    Status.NOT_FOUND,
    ErrorReason.SESSION_NOT_FOUND,
    `there is no session ${JSON.stringify(sessionId)}: it expired, was closed, or never was; open another, nothing of it is held`,
    { session_id: sessionId },
  );
}

export function tooManySessions(): StafettError {
  return new StafettError(
    Status.RESOURCE_EXHAUSTED,
    ErrorReason.TOO_MANY_SESSIONS,
    'the namespace has as many sessions as it may have; share one session in each process, or raise STAFETT_MAX_SESSIONS',
    {},
    5_000,
  );
}
