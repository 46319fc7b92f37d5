import { MemoryStorage } from '@openfeature/flagd-core';
import { invalidField } from '../rpc/errors.js';
import type { NamespaceSettings } from '../settings/namespace-settings.js';
import { FLAGS_PREFIX, isShared, toFlagConfiguration } from './flag-configuration.js';
import { INTERPRETED } from './flag-set.js';
import { quietLogger } from './quiet-logger.js';

/** Problems told at the most; one mistake is often found in many ways. */
const PROBLEMS_MAX = 3;

/** Refuses a flag that could not be evaluated. @throws {StafettError} INVALID_FIELD */
export async function checkFlag(settings: NamespaceSettings, key: string, value: string | undefined): Promise<void> {
  if (!key.startsWith(FLAGS_PREFIX)) return;
  if (key === FLAGS_PREFIX) throw invalidField('key', 'the key of the flag is missing behind flags/');
  const shared = isShared(key);
  if (value === undefined && !shared) return;
  await settings.current();
  const others = [...settings.mirror.settings.values()].filter((other) => other.key !== key && (shared || isShared(other.key)));
  const problem = problemOf(toFlagConfiguration([...others, { key, value }]));
  if (problem === undefined) return;
  if (value === undefined) throw invalidField('key', `flags still need it: ${problem}`);
  throw invalidField('value', `is no feature flag in flagd's schema: ${problem}`);
}

/** What is wrong with a set of flags, if anything. */
export function problemOf(configuration: string): string | undefined {
  const warnings: string[] = [];
  try {
    new MemoryStorage(
      quietLogger((message) => warnings.push(message)),
      INTERPRETED,
    ).setConfigurations(configuration, true);
    return warnings[0];
  } catch (error) {
    return shorten((error as Error).cause instanceof Error ? ((error as Error).cause as Error).message : (error as Error).message);
  }
}

/** The library tells a list of what the schema's validator found, most of it follow-ups. */
function shorten(message: string): string {
  const start = message.indexOf('[');
  try {
    const found = JSON.parse(message.slice(start)) as { instancePath: string; message: string }[];
    const problems = new Set(found.map(({ instancePath, message: problem }) => `${instancePath || '/'} ${problem}`));
    return [...problems].slice(0, PROBLEMS_MAX).join('; ');
  } catch {
    return message;
  }
}
