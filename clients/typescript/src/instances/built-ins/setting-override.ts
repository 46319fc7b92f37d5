import type { DurationLike } from '../../durations.js';
import type { Settings } from '../../runtime-settings.js';
import { type CallOffer, type CallParams, CallRefusal } from '../handler.js';
import { checkNames, flagParam, invalidParam, textParam } from './params.js';
import { toReader } from './settings.js';

/** Gives a setting another value in this process, and takes it back. */
export function settingOverride(settings: Settings): CallOffer {
  return {
    description:
      'gives the setting `key` another `value` in this process alone, for the `ttl` (such as 10m) if there is one; or clear=true',
    privileged: true,
    changes: true,
    handle: (params) => {
      checkNames(params, ['key', 'value', 'ttl', 'clear']);
      const key = textParam(params, 'key');
      const readers = settings.readers().filter((reader) => reader.key === key);
      if (key === undefined || readers.length === 0) throw invalidParam('key', `must be a setting that is defined here${known(settings)}`);
      change(settings, key, params);
      return { settings: readers.map(toReader) };
    },
  };
}

function change(settings: Settings, key: string, params: CallParams): void {
  const clear = flagParam(params, 'clear');
  if (clear === (params.value !== undefined)) throw invalidParam('value', 'must be given; or clear=true, and no value');
  if (clear) {
    settings.clearOverride(key);
    return;
  }
  const { value, ttl } = params;
  try {
    settings.override(key, value, ttl === undefined ? {} : { ttl: ttl as DurationLike });
  } catch (error) {
    const param = error instanceof TypeError ? 'ttl' : 'value';
    throw new CallRefusal('INVALID_PARAMS', (error as Error).message, { param });
  }
}

function known(settings: Settings): string {
  const keys = [...new Set(settings.readers().map(({ key }) => key))].slice(0, 20);
  return keys.length > 0 ? `, such as ${keys.join(', ')}` : '; there is none';
}
