import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { onCleanup } from './cleanup.js';
import { eventually } from './eventually.js';
import { freePort } from './ports.js';
import { plainEnv, startProcess } from './process.js';
import { startRedis, type TestRedis } from './redis.js';
import { findRedisProgram } from './redis-private.js';

const MASTER = 'main';
const START_TIMEOUT_MS = 20_000;
/** How long a master may be silent before it is replaced, ms. */
const DOWN_AFTER_MS = 500;

/** A master, a replica that has all of its data, and a sentinel that watches them. All end with the test. */
export interface SentinelSetup {
  /** For REDIS_URL. */
  readonly url: string;
  readonly master: TestRedis;
  readonly replica: TestRedis;
  /** Makes the replica the master, and the other way round: both live on, and so do connections. */
  switchOver(): Promise<unknown>;
  /** Until the sentinel names this one as the master. */
  whenMasterIs(redis: TestRedis): Promise<void>;
}

export async function startSentinel(): Promise<SentinelSetup> {
  const [master, replica] = await Promise.all([startRedis({ kind: 'private' }), startRedis({ kind: 'private' })]);
  await replica.client().replicaof(master.host, master.port);
  await eventually('the replica to have it all', async () => {
    return (await replica.client().info('replication')).includes('master_link_status:up');
  });
  const port = await startSentinelProcess(master);
  const sentinel = new Redis({ host: '127.0.0.1', port });
  sentinel.on('error', () => {});
  onCleanup(async () => sentinel.disconnect());
  const ask = (what: string) => sentinel.call('SENTINEL', what, MASTER).catch(() => []) as Promise<unknown[]>;
  await eventually('the sentinel to know the replica', async () => (await ask('replicas')).length === 1, { timeoutMs: START_TIMEOUT_MS });
  return {
    url: `redis+sentinel://127.0.0.1:${port}/${MASTER}`,
    master,
    replica,
    switchOver: () => sentinel.call('SENTINEL', 'FAILOVER', MASTER),
    whenMasterIs: async (redis) => {
      const named = async () => (await ask('get-master-addr-by-name'))[1] === String(redis.port);
      await eventually('the sentinel to name another master', named, { timeoutMs: START_TIMEOUT_MS });
    },
  };
}

async function startSentinelProcess(master: TestRedis): Promise<number> {
  const dir = await mkdtemp(join(tmpdir(), 'stafett-sentinel-'));
  const port = await freePort();
  const file = join(dir, 'sentinel.conf'); // which the sentinel writes to as well
  const lines = [
    `port ${port}`,
    'bind 127.0.0.1',
    `dir ${dir}`,
    `sentinel monitor ${MASTER} ${master.host} ${master.port} 1`,
    `sentinel down-after-milliseconds ${MASTER} ${DOWN_AFTER_MS}`,
    `sentinel failover-timeout ${MASTER} 5000`,
  ];
  await writeFile(file, `${lines.join('\n')}\n`);
  const child = startProcess(findRedisProgram(), [file, '--sentinel'], plainEnv());
  onCleanup(async () => {
    await child.kill('SIGKILL');
    await rm(dir, { recursive: true, force: true });
  });
  return port;
}
