import type { Duration } from './gen/google/protobuf/duration.js';

/** A length of time: a number of ms, or a text such as `'250ms'`, `'5s'`, `'2m'`, `'1h'`. */
export type DurationLike = number | string;

const UNITS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };
const TEXT = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/;

/**
 * A duration in ms.
 * @param what the name of the option, for the error.
 * @throws {TypeError} when it is neither a number of ms from 0 on nor a text with a unit.
 */
export function toMs(duration: DurationLike, what: string): number {
  const match = typeof duration === 'string' ? TEXT.exec(duration) : undefined;
  const ms = match ? Number(match[1]) * (UNITS[match[2] as string] as number) : duration;
  if (typeof ms === 'number' && ms >= 0 && Number.isFinite(ms)) return ms;
  const problem = typeof duration === 'number' ? String(duration) : JSON.stringify(duration);
  throw new TypeError(`${what}: ${problem} is not a duration; use a number of ms or a text such as '250ms', '5s', '2m', '1h'`);
}

export function toProtoDuration(ms: number): Duration {
  const seconds = Math.floor(ms / 1000);
  return { seconds: BigInt(seconds), nanos: Math.floor((ms - seconds * 1000) * 1e6) };
}

/** @param duration as this client's own types or those of a library have it. */
export function fromProtoDuration({ seconds, nanos }: { readonly seconds: bigint | number; readonly nanos: number }): number {
  return Number(seconds) * 1000 + nanos / 1e6;
}
