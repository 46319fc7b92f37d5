import { Status } from 'nice-grpc-common';
import { ErrorReason } from '../gen/stafett/v1/error.js';
import { StafettError } from '../rpc/errors.js';

/** With the statuses that providers of OpenFeature tell apart. */

export function flagNotFound(key: string): StafettError {
  const message = `there is no feature flag ${JSON.stringify(key)}; it would be the setting ${JSON.stringify(`flags/${key}`)}`;
  return new StafettError(Status.NOT_FOUND, ErrorReason.FLAG_NOT_FOUND, message, { key });
}

export function flagDisabled(key: string): StafettError {
  return new StafettError(Status.NOT_FOUND, ErrorReason.FLAG_DISABLED, `the feature flag ${JSON.stringify(key)} is disabled`, { key });
}

export function flagTypeMismatch(key: string, wanted: string): StafettError {
  const message = `the feature flag ${JSON.stringify(key)} has another type than ${wanted}`;
  return new StafettError(Status.INVALID_ARGUMENT, ErrorReason.FLAG_TYPE_MISMATCH, message, { key });
}

export function flagBroken(key: string, problem: string): StafettError {
  const message = `the feature flag ${JSON.stringify(key)} cannot be evaluated: ${problem}`;
  return new StafettError(Status.DATA_LOSS, ErrorReason.FLAG_BROKEN, message, { key });
}
