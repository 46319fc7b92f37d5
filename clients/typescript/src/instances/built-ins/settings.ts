import type { LiveSetting } from '../../live-setting.js';
import type { Settings } from '../../runtime-settings.js';
import { type CallOffer, numberParam } from '../handler.js';
import { checkNames, textParam } from './params.js';

const READERS_DEFAULT = 1_000;
const READERS_MAX = 10_000;

/** The settings that are defined in this process, as it sees them. */
export function listSettings(settings: Settings): CallOffer {
  return {
    description: 'the settings that are defined here, as this process sees them (prefix; limit)',
    privileged: true,
    handle: (params) => {
      checkNames(params, ['prefix', 'limit']);
      const prefix = textParam(params, 'prefix') ?? '';
      const limit = numberParam(params, 'limit', READERS_DEFAULT, 1, READERS_MAX);
      const found = settings.readers().filter(({ key }) => key.startsWith(prefix));
      return { settings: found.slice(0, limit).map(toReader), more: found.length > limit };
    },
  };
}

/** What one reader sees, as JSON can hold it. */
export function toReader({ key, value, fallback, followed, revision, stale, error, override }: LiveSetting<unknown>) {
  return {
    key,
    value: toJson(value),
    default: toJson(fallback),
    revision: String(revision),
    stale,
    error: error?.message ?? null,
    override: override ? { since: override.since, until: override.until ?? null, insteadOf: toJson(followed) } : null,
  };
}

/** A schema may make anything of what was set. */
function toJson(value: unknown): unknown {
  try {
    const json = JSON.stringify(value, (_, part) => (typeof part === 'bigint' ? String(part) : part)) as string | undefined;
    return json === undefined ? null : JSON.parse(json);
  } catch (error) {
    return `cannot be shown: ${(error as Error).message}`;
  }
}
