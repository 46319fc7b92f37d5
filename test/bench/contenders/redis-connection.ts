import { Redis } from 'ioredis';

/**
 * The connection of the libraries that talk to Redis themselves: one, with the defaults. Auto-pipelining was tried and is
 * slower for them on loopback (ioredis writes the commands of one tick together anyway).
 */
export async function connectRedis(url: string): Promise<Redis> {
  const redis = new Redis(url, { lazyConnect: true });
  redis.on('error', () => {});
  await redis.connect();
  return redis;
}
