import type { ContenderSpec } from './contender.js';
import { connectRedis } from './redis-connection.js';

const lockTimeoutMs = 10_000;
const refreshIntervalMs = 8_000;
const foreverMs = 24 * 3600 * 1000;

export const redisSemaphore: ContenderSpec = {
  id: 'redis-semaphore',
  title: 'redis-semaphore Mutex',
  settings:
    'redis-semaphore 5, Mutex, ioredis with its defaults, retryInterval 10 ms, lockTimeout 10 s, refreshInterval 8 s (all its defaults), ' +
    'acquireTimeout without limit',
  backend: 'redis',
  inFlightMax: Number.POSITIVE_INFINITY,
  waitersMax: 1000,
  refreshPeriodMs: refreshIntervalMs,
  async connect(endpoints) {
    const { Mutex } = await import('redis-semaphore');
    const redis = await connectRedis(endpoints.redisUrl);
    const options = { lockTimeout: lockTimeoutMs, refreshInterval: refreshIntervalMs, retryInterval: 10, acquireTimeout: foreverMs };
    return {
      async acquire(name) {
        const mutex = new Mutex(redis, name, options);
        await mutex.acquire();
        return () => mutex.release();
      },
      close: async () => redis.disconnect(),
    };
  },
};
