import type { FlagdCore } from '@openfeature/flagd-core';
import type { AnyFlag } from '../gen/flagd/evaluation/v2/evaluation.js';
import { flagBroken, flagNotFound, flagTypeMismatch } from './refusals.js';

export type FlagType = 'boolean' | 'string' | 'number' | 'object';

/** The outcome of one flag. */
export interface Outcome<T> {
  /** Undefined: there is no default variant, or the flag is disabled. */
  readonly value: T | undefined;
  readonly reason: string;
  readonly variant: string | undefined;
  readonly metadata: Record<string, unknown>;
}

type Context = Record<string, unknown>;
type Value = Exclude<AnyFlag['value'], undefined>;

/** @throws {StafettError} FLAG_NOT_FOUND, FLAG_TYPE_MISMATCH, FLAG_BROKEN */
export function evaluate<T>(core: FlagdCore, type: FlagType, key: string, context: Context | undefined): Outcome<T> {
  const { value, reason, variant, errorCode, errorMessage, flagMetadata } = core.resolve(
    type,
    key,
    undefined as never, // so that it can be told from a value of the flag
    (context ?? {}) as never,
  );
  if (errorCode === 'FLAG_NOT_FOUND') throw flagNotFound(key);
  if (errorCode === 'TYPE_MISMATCH' || (type === 'object' && Array.isArray(value))) throw flagTypeMismatch(key, type);
  if (errorCode !== undefined) throw flagBroken(key, errorMessage ?? errorCode);
  return { value: value as T | undefined, reason: reason ?? '', variant, metadata: flagMetadata };
}

/** All that are enabled and have a value. */
export function evaluateAll(core: FlagdCore, context: Context | undefined): Record<string, AnyFlag> {
  const flags: Record<string, AnyFlag> = {};
  for (const { flagKey, value, reason = '', variant, flagMetadata } of core.resolveAll((context ?? {}) as never)) {
    const any = toAny(value);
    if (any) flags[flagKey] = { reason, variant, value: any, metadata: flagMetadata };
  }
  return flags;
}

function toAny(value: unknown): Value | undefined {
  if (typeof value === 'boolean') return { $case: 'boolValue', value };
  if (typeof value === 'string') return { $case: 'stringValue', value };
  if (typeof value === 'number') return { $case: 'doubleValue', value };
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined; // which cannot be told
  return { $case: 'objectValue', value };
}
