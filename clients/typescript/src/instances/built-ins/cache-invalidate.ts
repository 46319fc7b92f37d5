import type { Caches } from '../../caches.js';
import type { CallOffer, CallParams } from '../handler.js';
import { cachesOf } from './caches.js';
import { checkNames, flagParam, invalidParam, textParam, textsParam } from './params.js';

/** Removes entries here; the other processes keep theirs. */
export function cacheInvalidate(caches: Caches): CallOffer {
  return {
    description: 'removes entries from the `cache` of this process alone: key, prefix, tag (each a text or several), or all=true',
    privileged: true,
    changes: true,
    handle: (params) => {
      checkNames(params, ['cache', 'key', 'prefix', 'tag', 'all']);
      const name = textParam(params, 'cache');
      if (name === undefined) throw invalidParam('cache', 'must be the name of a cache');
      const found = cachesOf(caches, name);
      const removal = toRemoval(params);
      const removed = found.reduce((sum, cache) => sum + cache.removeHere(removal), 0);
      return { cache: name, removed, size: found.reduce((sum, { size }) => sum + size, 0) };
    },
  };
}

function toRemoval(params: CallParams) {
  const [keys, prefixes, tags] = [textsParam(params, 'key'), textsParam(params, 'prefix'), textsParam(params, 'tag')];
  const all = flagParam(params, 'all');
  const some = keys.length + prefixes.length + tags.length > 0;
  if (some === all) throw invalidParam('key', 'give key, prefix or tag; or all=true, and none of them');
  return { keys, prefixes, tags, all };
}
