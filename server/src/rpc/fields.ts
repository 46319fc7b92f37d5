import type { Duration } from '../gen/google/protobuf/duration.js';
import type { Timestamp } from '../gen/google/protobuf/timestamp.js';
import { invalidField } from './errors.js';

/** Checks of request fields that all services share. Each throws INVALID_ARGUMENT and names the field. */

export const NAME_BYTES_MAX = 256;
export const NAMES_MAX = 64;
const PAGE_SIZE_MAX = 1_000;
const PAGE_SIZE_DEFAULT = 100;
const ID = /^[A-Za-z0-9_-]{1,64}$/;
const LOCK_ID = /^~?[A-Za-z0-9_-]{1,64}\.[A-Za-z0-9_-]{1,64}$/;

export function checkNames(names: string[]): void {
  if (names.length === 0) throw invalidField('names', 'at least one name is needed');
  if (names.length > NAMES_MAX) throw invalidField('names', `${names.length} names; at most ${NAMES_MAX} are allowed`);
  for (const name of names) checkName('names', name);
  if (names.length > 1 && new Set(names).size < names.length) throw invalidField('names', 'a name is given twice');
}

export function checkName(field: string, name: string): void {
  if (name === '') throw invalidField(field, 'a name is empty');
  if (name.includes('\0')) throw invalidField(field, 'a name contains U+0000');
  checkText(field, name);
}

/** Names of locks that servers take for others, as the slots of managed processes. */
export const RESERVED_PREFIX = '~process/';

/** Not a name that only servers may take or take away. */
export function checkNotReserved(field: string, name: string): void {
  if (name.startsWith(RESERVED_PREFIX)) {
    throw invalidField(
      field,
      `${JSON.stringify(name)}: names that begin with ${RESERVED_PREFIX} are the worker slots of managed processes`,
    );
  }
}

/** At most 256 bytes of UTF-8. */
export function checkText(field: string, text: string, bytesMax = NAME_BYTES_MAX): void {
  if (text.length * 3 > bytesMax && Buffer.byteLength(text) > bytesMax) {
    throw invalidField(field, `${Buffer.byteLength(text)} bytes; at most ${bytesMax} are allowed`);
  }
}

export function isId(id: string): boolean {
  return ID.test(id);
}

export function checkId(field: string, id: string): void {
  if (!isId(id)) throw invalidField(field, 'must be 1 to 64 of the characters A–Z a–z 0–9 - _');
}

export function checkLockId(field: string, id: string): void {
  if (!LOCK_ID.test(id)) throw invalidField(field, 'is not a lock_id; give the one of the grant');
}

/** A duration in ms, between the bounds. */
export function checkDuration(field: string, duration: Duration, minMs: number, maxMs: number): number {
  const { seconds, nanos } = duration;
  const wellFormed = Math.abs(nanos) < 1e9 && (seconds === 0n || nanos === 0 || seconds > 0n === nanos > 0);
  if (!wellFormed) throw invalidField(field, 'is no duration: nanos must be below a second and of the sign of the seconds');
  const ms = Number(seconds) * 1000 + nanos / 1e6;
  if (!(ms >= minMs && ms <= maxMs)) throw invalidField(field, `${ms} ms; must be between ${minMs} and ${maxMs} ms`);
  return Math.ceil(ms);
}

export function checkPageSize(pageSize: number): number {
  if (pageSize < 0) throw invalidField('page_size', 'must not be negative');
  return pageSize === 0 ? PAGE_SIZE_DEFAULT : Math.min(pageSize, PAGE_SIZE_MAX);
}

/** The last item of the page before, which a token stands for. */
export function checkPageToken(token: string): string {
  if (token === '') return '';
  const after = Buffer.from(token, 'base64url').toString();
  if (after === '' || toPageToken(after) !== token) throw invalidField('page_token', 'is not a next_page_token of an earlier page');
  return after;
}

export function toPageToken(last: string): string {
  return Buffer.from(last).toString('base64url');
}

export function toTimestamp(ms: number): Timestamp {
  const seconds = Math.floor(ms / 1000);
  return { seconds: BigInt(seconds), nanos: (ms - seconds * 1000) * 1e6 };
}

/** In ms; 0 if it is out of all bounds. */
export function fromTimestamp({ seconds, nanos }: Timestamp): number {
  const ms = Number(seconds) * 1000 + Math.floor(nanos / 1e6);
  return Number.isSafeInteger(ms) && ms > 0 ? ms : 0;
}

export const toDuration: (ms: number) => Duration = toTimestamp;
