import { Status } from 'nice-grpc-common';
import { ErrorReason } from '../gen/stafett/v1/error.js';
import type { CallFailure } from '../gen/stafett/v1/instance.js';
import { StafettError } from '../rpc/errors.js';
import { FAILURE_CHARS_MAX } from './limits.js';

const RETRY_MS = 1_000;
const FAILURE_REASON = /^[A-Z0-9_]{1,64}$/;

export function instanceNotFound(instanceId: string): StafettError {
  const message = `there is no instance ${JSON.stringify(instanceId)}: its process ended, its session ran out, or it never was; list them again`;
  return new StafettError(Status.NOT_FOUND, ErrorReason.INSTANCE_NOT_FOUND, message, { instance_id: instanceId });
}

export function instanceUnreachable(instanceId: string): StafettError {
  const message = `instance ${instanceId} is not connected to a server that can be reached; it may be back in a moment, try again`;
  return new StafettError(Status.UNAVAILABLE, ErrorReason.INSTANCE_UNREACHABLE, message, { instance_id: instanceId }, RETRY_MS);
}

/** @param how continues the sentence "the call ended in the middle: …". */
export function instanceLost(instanceId: string, how: string): StafettError {
  const message = `the call ended in the middle: ${how}; what came so far is not complete`;
  return new StafettError(Status.ABORTED, ErrorReason.INSTANCE_LOST, message, { instance_id: instanceId });
}

export function callNotFound(instanceId: string, name: string, offered: readonly string[]): StafettError {
  const message = `instance ${instanceId} offers no call ${JSON.stringify(name)}; it offers ${offered.join(', ') || 'none'}`;
  const metadata = { instance_id: instanceId, name, calls: JSON.stringify(offered) };
  return new StafettError(Status.NOT_FOUND, ErrorReason.CALL_NOT_FOUND, message, metadata);
}

export function callNotAllowed(name: string): StafettError {
  const message = `${JSON.stringify(name)} is a privileged call, and this server lets nobody make those; its operator can set STAFETT_PRIVILEGED_CALLS=true`;
  return new StafettError(Status.PERMISSION_DENIED, ErrorReason.CALL_NOT_ALLOWED, message, { name });
}

export function notAPeer(): StafettError {
  const message = 'ForwardCall is for the servers of this cluster alone; use CallInstance';
  return new StafettError(Status.PERMISSION_DENIED, ErrorReason.CALL_NOT_ALLOWED, message, { name: 'ForwardCall' });
}

export function callAlreadyRunning(instanceId: string, name: string): StafettError {
  const message = `a call ${JSON.stringify(name)} runs on instance ${instanceId} already, and there may be one at a time; wait for its end`;
  return new StafettError(Status.FAILED_PRECONDITION, ErrorReason.CALL_ALREADY_RUNNING, message, { instance_id: instanceId, name });
}

export function tooManyCalls(what: string): StafettError {
  return new StafettError(Status.RESOURCE_EXHAUSTED, ErrorReason.TOO_MANY_CALLS, what, {}, RETRY_MS);
}

export function callTimeout(timeoutMs: number): StafettError {
  const message = `the answer was not complete within the timeout of ${timeoutMs} ms; the instance was told to stop`;
  return new StafettError(Status.DEADLINE_EXCEEDED, ErrorReason.CALL_TIMEOUT, message, { timeout_ms: String(timeoutMs) });
}

/** What the instance says that went wrong. Only the texts are its own. */
export function callFailed(instanceId: string, name: string, failure: CallFailure): StafettError {
  if (failure.reason === 'CALL_ALREADY_RUNNING') return callAlreadyRunning(instanceId, name);
  const cause = FAILURE_REASON.test(failure.reason) ? failure.reason : 'UNKNOWN';
  const said = failure.message.slice(0, FAILURE_CHARS_MAX);
  const metadata = { ...failure.metadata, instance_id: instanceId, name, cause };
  return new StafettError(Status.UNKNOWN, ErrorReason.CALL_FAILED, `the instance could not answer: ${said}`, metadata);
}
