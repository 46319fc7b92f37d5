import type { Redis } from 'ioredis';
import { encodeBatch } from '../../server/src/engine/codec.js';
import type { EngineLimits } from '../../server/src/engine/commands.js';
import { feedsOf } from '../../server/src/events/feed-names.js';
import { epochPrefix, gateKey } from '../../server/src/redis/keys.js';
import { loadLibrary } from '../../server/src/redis/scripts.js';
import { applyPatch } from './engine-harness.js';

const LIBRARY = loadLibrary(new URL('../../server/src/engine/scripts/engine.lua', import.meta.url), 'lossy');
const SILENCE = { find: "  call('PUBLISH', string.match(P, '^[^}]*}:') .. 'events:' .. channel, message)\n", replace: '' };
/** None of them is looked at. */
const limits = {} as EngineLimits;

/** Publishes as servers do, but so that pub/sub loses it: nobody hears of it. */
export async function publishUnheard(redis: Redis, namespace: string, channel: string, data: unknown): Promise<void> {
  await redis.call('FUNCTION', 'LOAD', 'REPLACE', applyPatch(LIBRARY.source, SILENCE));
  const { id: epoch = '', run = '' } = await redis.hgetall(gateKey(namespace));
  const pass = { epoch, run, expected: 0, toleranceMs: 0 };
  const command = ['publish', [[feedsOf(channel), JSON.stringify(data), '', '', [100, 60_000, 0]]], 1_000] as never;
  const batch = encodeBatch({ serverId: 'nobody', seen: 0, limits, commands: [command], pass });
  await redis.callBuffer('FCALL', LIBRARY.name, 2, epochPrefix(namespace, epoch), gateKey(namespace), batch);
}
