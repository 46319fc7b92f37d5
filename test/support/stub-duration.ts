import type { Duration } from '../../server/src/gen/google/protobuf/duration.js';
import type { Timestamp } from '../../server/src/gen/google/protobuf/timestamp.js';

export function toDuration(ms: number): Duration {
  const seconds = Math.trunc(ms / 1000);
  return { seconds: BigInt(seconds), nanos: Math.round((ms - seconds * 1000) * 1e6) };
}

/** ms, since 1970 or long. */
export function toMs(value: Timestamp | Duration | undefined): number {
  if (value === undefined) throw new Error('a time or a duration is missing');
  return Number(value.seconds) * 1000 + value.nanos / 1e6;
}
