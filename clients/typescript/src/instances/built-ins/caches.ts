import type { Cache } from '../../cache.js';
import type { Caches } from '../../caches.js';
import { type CallOffer, type CallParams, numberParam } from '../handler.js';
import { checkNames, invalidParam, textParam } from './params.js';

const KEYS_DEFAULT = 100;
const KEYS_MAX = 1_000;

/** The figures of all caches, or of one with some of its keys. Never a value. */
export function listCaches(caches: Caches): CallOffer {
  return {
    description: `the caches and their figures; with \`cache\` one of them with its keys (prefix; limit, default ${KEYS_DEFAULT})`,
    privileged: true,
    handle: (params) => {
      checkNames(params, ['cache', 'prefix', 'limit']);
      const name = textParam(params, 'cache');
      if (name === undefined) return { caches: [...caches.open].map(toFigures) };
      return { caches: cachesOf(caches, name).map((cache) => ({ ...toFigures(cache), ...keysOf(cache, params) })) };
    },
  };
}

/** Those of the name: mostly one, but a name may be used twice. @throws {CallRefusal} INVALID_PARAMS if there is none. */
export function cachesOf(caches: Caches, name: string): Cache<unknown>[] {
  const all = [...caches.open];
  const found = all.filter((cache) => cache.name === name);
  if (found.length > 0) return found;
  const names = [...new Set(all.map((cache) => cache.name))].slice(0, 20).join(', ');
  throw invalidParam('cache', `this process has no cache ${JSON.stringify(name.slice(0, 200))}; it has ${names || 'none'}`);
}

function toFigures(cache: Cache<unknown>) {
  const { name, size, loading, stats, isConfirmed, error } = cache;
  const { max, ttlMs = null, stalenessMs } = cache.settings;
  return { name, size, max, ttlMs, stalenessMs, loading, confirmed: isConfirmed, error: error?.message ?? null, stats };
}

function keysOf(cache: Cache<unknown>, params: CallParams) {
  const limit = numberParam(params, 'limit', KEYS_DEFAULT, 1, KEYS_MAX);
  const keys = [];
  for (const entry of cache.entries(textParam(params, 'prefix') ?? '')) {
    if (keys.length >= limit) return { keys, more: true };
    keys.push({ ...entry, ttlLeftMs: entry.ttlLeftMs ?? null });
  }
  return { keys, more: false };
}
