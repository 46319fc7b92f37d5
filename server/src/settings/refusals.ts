import { Status } from 'nice-grpc-common';
import { ErrorReason } from '../gen/stafett/v1/error.js';
import { StafettError } from '../rpc/errors.js';

export function settingNotFound(key: string): StafettError {
  return new StafettError(Status.NOT_FOUND, ErrorReason.SETTING_NOT_FOUND, `there is no setting ${JSON.stringify(key)}`, { key });
}

/** @param revision that it has; 0: there is none. @param changed the revision of its last change or deletion. */
export function revisionMismatch(key: string, revision: number, changed: number): StafettError {
  const what = revision === 0 ? 'there is none' : `it has the revision ${revision}`;
  const message = `the setting ${JSON.stringify(key)} is not as it was expected to be: ${what}; look at it again, and decide again`;
  const metadata = { key, revision: String(revision), change_revision: String(changed) };
  return new StafettError(Status.FAILED_PRECONDITION, ErrorReason.SETTING_REVISION_MISMATCH, message, metadata);
}

/** @param oldest from where on changes are known. */
export function revisionUnavailable(asked: bigint, oldest: number, latest: number): StafettError {
  const message =
    asked > BigInt(latest)
      ? `the revision ${asked} is not known here; the latest is ${latest}. Watch again without from_revision`
      : `the changes since the revision ${asked} are not all known any more, only those since ${oldest}. Watch again without from_revision`;
  const metadata = { oldest_revision: String(oldest), latest_revision: String(latest) };
  return new StafettError(Status.OUT_OF_RANGE, ErrorReason.REVISION_UNAVAILABLE, message, metadata);
}

export function tooManySettings(countMax: number, bytesMax: number): StafettError {
  return new StafettError(
    Status.RESOURCE_EXHAUSTED,
    ErrorReason.TOO_MANY_SETTINGS,
    `the namespace may have ${countMax} settings (STAFETT_MAX_SETTINGS) and ${bytesMax} bytes of keys and values; delete some`,
    {},
    60_000,
  );
}

/** Redis lost its data, and servers that know more may still come. */
export function notYet(leftMs: number): StafettError {
  return new StafettError(
    Status.UNAVAILABLE,
    ErrorReason.GRACE_PERIOD,
    'Redis lost its data or was just started: until servers that know the settings had the time to say so, nothing is told or changed',
    {},
    Math.max(1, Math.ceil(leftMs)),
  );
}
