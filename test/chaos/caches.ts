import { CacheChecker } from '../support/cache-checker.js';
import { connectClient } from '../support/client.js';
import type { Rng } from '../support/rng.js';
import type { World } from './world.js';

const STALENESS_MS = 1_000;
const NODES = 2;

/** Nodes of this process, which is never frozen, that read through caches, and invalidate what they change. */
export async function startCaches({ servers, options: { ttlMs, news }, namespace }: World, rng: Rng): Promise<CacheChecker> {
  const checker = new CacheChecker(STALENESS_MS, rng.fork());
  if (!news) return checker;
  const fronts = servers.map(({ front }) => front);
  const nodes = Array.from({ length: NODES }, () => connectClient(rng.shuffle(fronts), { namespace, ttl: ttlMs, connectTimeout: '1m' }));
  void checker.run((await Promise.all(nodes)).map((node) => checker.cacheOf(node)));
  return checker;
}

/** For people. */
export function showStaleReads({ stale }: CacheChecker): string[] {
  return stale.map(
    ({ key, got, expected, ageMs }) => `stale read: ${key} was ${got}, though ${expected} had been invalidated ${ageMs} ms before`,
  );
}
