import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { encodeBatch } from '../../server/src/engine/codec.js';
import type { Command, EngineLimits } from '../../server/src/engine/commands.js';
import { feedsOf } from '../../server/src/events/feed-names.js';
import { epochPrefix, gateKey } from '../../server/src/redis/keys.js';
import { loadLibrary } from '../../server/src/redis/scripts.js';
import { applyPatch } from './engine-harness.js';

const LIBRARY = loadLibrary(new URL('../../server/src/engine/scripts/engine.lua', import.meta.url), 'lossy');
const SILENCE = [
  { find: "  call('PUBLISH', string.match(P, '^[^}]*}:') .. 'events:' .. channel, message)\n", replace: '' },
  { find: "  call('PUBLISH', 'stafett:settings', cmsgpack.pack({P, change}))\n", replace: '' },
];
/** None of them is looked at. */
const limits = {} as EngineLimits;

/** Publishes as servers do, but so that pub/sub loses it: nobody hears of it. */
export async function publishUnheard(redis: Redis, namespace: string, channel: string, data: unknown): Promise<void> {
  await runUnheard(redis, namespace, () => {
    return ['publish', [[feedsOf(channel), JSON.stringify(data), '', '', [100, 60_000, 0]]], 1_000] as never;
  });
}

/** Sets as servers do, but so that pub/sub loses it. */
export async function setUnheard(redis: Redis, namespace: string, key: string, value: unknown): Promise<void> {
  await runUnheard(redis, namespace, (epoch) => {
    return ['setting_change', epoch, key, JSON.stringify(value), -1, -1, 'nobody', randomUUID(), 10_000, 8_388_608];
  });
}

async function runUnheard(redis: Redis, namespace: string, command: (epoch: string) => Command): Promise<void> {
  await redis.call('FUNCTION', 'LOAD', 'REPLACE', SILENCE.reduce(applyPatch, LIBRARY.source));
  const { id: epoch = '', run = '' } = await redis.hgetall(gateKey(namespace));
  const pass = { epoch, run, expected: 0, toleranceMs: 0 };
  const batch = encodeBatch({ serverId: 'nobody', seen: 0, limits, commands: [command(epoch)], pass });
  await redis.callBuffer('FCALL', LIBRARY.name, 2, epochPrefix(namespace, epoch), gateKey(namespace), batch);
}
