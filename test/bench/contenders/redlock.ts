import type { ContenderSpec, Release } from './contender.js';
import { connectRedis } from './redis-connection.js';

const lockDurationMs = 10_000;
const extensionThresholdMs = 500;

/** redlock's own `using` is its auto-extension; the lock is held until the routine's promise resolves. */
function holdByUsing(using: (routine: () => Promise<void>) => Promise<void>): Promise<Release> {
  return new Promise((resolve, reject) => {
    using(
      () =>
        new Promise<void>((release) => {
          resolve(async () => release());
        }),
    ).catch(reject);
  });
}

export const redlock: ContenderSpec = {
  id: 'redlock',
  title: 'redlock',
  settings:
    'redlock 5.0.0-beta.2, one Redis, ioredis with its defaults, retryCount -1 (no limit), retryDelay 20 ms ± 10 ms (the best ' +
    'over all numbers of waiters; its default is 200 ms ± 100 ms), duration 10 s, extended 500 ms before its end by `using` (its default)',
  backend: 'redis',
  inFlightMax: Number.POSITIVE_INFINITY,
  waitersMax: 1000,
  refreshPeriodMs: lockDurationMs - extensionThresholdMs,
  async connect(endpoints) {
    const { default: Redlock } = await import('redlock');
    const redis = await connectRedis(endpoints.redisUrl);
    const client = new Redlock([redis], { retryCount: -1, retryDelay: 20, retryJitter: 10 });
    return {
      async acquire(name) {
        const lock = await client.acquire([name], lockDurationMs);
        return () => lock.release();
      },
      hold: (name) => holdByUsing((routine) => client.using([name], lockDurationMs, routine)),
      close: async () => redis.disconnect(),
    };
  },
};
