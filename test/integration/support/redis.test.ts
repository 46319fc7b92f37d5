import { describe, expect, test } from 'vitest';
import { startRedis } from '../../support/redis.js';
import { defaultRedisKind, type RedisKind } from '../../support/redis-kind.js';

// One contract for both kinds of test Redis; that of Docker only where there is Docker.
const KINDS = new Set<RedisKind>(['private', defaultRedisKind()]);

describe.each([...KINDS])('a test Redis (%s)', (kind) => {
  test('is empty and answers', async () => {
    const redis = await startRedis({ kind });
    expect(redis.kind).toBe(kind);
    expect(redis.url).toMatch(/^redis:\/\/[\w.]+:\d+$/);
    expect(await redis.client().dbsize()).toBe(0);
  });

  test('takes more configuration', async () => {
    const redis = await startRedis({ kind, args: ['--maxmemory', '12mb'] });
    expect(await redis.client().config('GET', 'maxmemory')).toEqual(['maxmemory', '12582912']);
  });

  test('comes back at the same address after a kill, as another and with nothing', async () => {
    const redis = await startRedis({ kind });
    const client = redis.client();
    const runId = /run_id:(\w+)/.exec(await client.info('server'))?.[1];
    await client.set('key', 'value');

    await redis.kill();
    await expect(redis.client({ retryStrategy: () => null }).ping()).rejects.toThrow();
    await redis.start();

    expect(await client.dbsize()).toBe(0); // the client reconnects by itself, so the address is the same
    expect(await client.info('server')).not.toContain(runId);
  });

  test('answers nobody while it pauses', async () => {
    const redis = await startRedis({ kind });
    const client = redis.client();
    await client.ping();
    await redis.pause();
    let answered = false;
    const reply = client.ping().then(() => {
      answered = true;
    });
    await expect(redis.client({ commandTimeout: 200, retryStrategy: () => null }).ping()).rejects.toThrow();
    expect(answered).toBe(false);
    await redis.resume();
    await reply;
  });

  test('is gone after stop, which may be called twice', async () => {
    const redis = await startRedis({ kind });
    const { host, port } = redis;
    await redis.stop();
    await redis.stop();
    const probe = redis.client({ host, port, retryStrategy: () => null });
    await expect(probe.ping()).rejects.toThrow();
    probe.disconnect();
  });
});
