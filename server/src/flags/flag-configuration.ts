import type { Setting } from '../settings/mirror.js';

/** Settings with this prefix are feature flags: `flags/<key of the flag>`. */
export const FLAGS_PREFIX = 'flags/';
/** Not flags, but what the set of them has besides: rules that flags refer to, and metadata of the whole. */
const EVALUATORS = '$evaluators';
const METADATA = '$metadata';

/** Does it concern more than one flag? */
export function isShared(key: string): boolean {
  return key === FLAGS_PREFIX + EVALUATORS || key === FLAGS_PREFIX + METADATA;
}

/** A JSON text in flagd's schema. */
export function toFlagConfiguration(settings: Iterable<Pick<Setting, 'key' | 'value'>>): string {
  const flags: string[] = [];
  const shared: string[] = [];
  for (const { key, value } of settings) {
    if (!key.startsWith(FLAGS_PREFIX) || value === undefined) continue;
    const name = key.slice(FLAGS_PREFIX.length);
    if (name === EVALUATORS) shared.push(`"$evaluators":${value}`);
    else if (name === METADATA) shared.push(`"metadata":${value}`);
    else flags.push(`${JSON.stringify(name)}:${value}`);
  }
  return `{${[...shared, `"flags":{${flags.join(',')}}`].join(',')}}`;
}
