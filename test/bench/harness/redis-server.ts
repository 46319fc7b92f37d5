import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { findProgram, freePort, start, stop } from './child.js';
import type { CleanupStack } from './cleanup.js';

export interface RedisServer {
  url: string;
  pid: number;
  version: string;
  /** A connection of the bench itself, for INFO. */
  admin: Redis;
}

/** Starts a private Redis or Valkey without a disk, on the loopback address. */
export async function startRedis(cleanup: CleanupStack): Promise<RedisServer> {
  const program = findProgram(['redis-server', 'valkey-server']);
  if (program === undefined)
    throw new Error('neither redis-server nor valkey-server is on the PATH (Debian: apt-get install redis-server)');
  const directory = mkdtempSync(join(tmpdir(), 'stafett-bench-redis-'));
  cleanup.add(() => rmSync(directory, { recursive: true, force: true }));
  const port = await freePort();
  const settings = { port, bind: '127.0.0.1', save: '', appendonly: 'no', dir: directory, 'enable-debug-command': 'no' };
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const child = start(program, args, { stdio: 'ignore' });
  cleanup.add(() => stop(child));
  const url = `redis://127.0.0.1:${port}`;
  const admin = await connectAdmin(url);
  cleanup.add(() => admin.disconnect());
  const server = parseInfo(await admin.info('server'));
  const version = server.get('valkey_version') ?? server.get('redis_version') ?? '?';
  return { url, pid: child.pid as number, admin, version: `${server.get('server_name') ?? 'redis'} ${version}` };
}

async function connectAdmin(url: string): Promise<Redis> {
  const admin = new Redis(url, { lazyConnect: true, retryStrategy: () => 50, maxRetriesPerRequest: null });
  admin.on('error', () => {});
  await Promise.race([
    admin.connect().catch(() => admin.ping()),
    sleep(10_000, undefined, { ref: false }).then(() => Promise.reject(new Error('redis did not start in 10 s'))),
  ]);
  return admin;
}

/** `name:value` lines of an INFO section. */
export function parseInfo(info: string): Map<string, string> {
  const lines = info.split('\r\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]));
}
