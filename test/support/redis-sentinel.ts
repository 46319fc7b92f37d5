import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { type Certificate, tlsSettings } from './certificate.js';
import { onCleanup } from './cleanup.js';
import { eventually } from './eventually.js';
import { freePort } from './ports.js';
import { plainEnv, startProcess } from './process.js';
import { startRedis, type TestRedis } from './redis.js';
import { findRedisProgram } from './redis-private.js';
import { startTcpProxy, type TcpProxy } from './tcp-proxy.js';

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
  /** Both, each with the proxy before it if there is one. */
  readonly nodes: readonly SentinelNode[];
  /** Whom the sentinel names as the master; undefined if it cannot be asked. */
  masterNow(): Promise<SentinelNode | undefined>;
}

export interface SentinelOptions {
  /** What the sentinel asks for. Without a user: its `requirepass`; with one, the default user may do nothing. */
  readonly username?: string;
  readonly password?: string;
  /** All of them speak TLS with it: to clients, and to each other. */
  readonly certificate?: Certificate;
  /** A proxy before each Redis, that servers, sentinel and replica go through. */
  readonly proxied?: boolean;
  /** Two fail-overs are at least twice as long apart, ms. Default 5,000. */
  readonly failoverTimeoutMs?: number;
}

/** A Redis, and the port at which servers and sentinels reach it. */
export interface SentinelNode {
  readonly redis: TestRedis;
  readonly port: number;
  readonly proxy?: TcpProxy;
}

export async function startSentinel(options: SentinelOptions = {}): Promise<SentinelSetup> {
  const [master, replica] = (await Promise.all([startNode(options), startNode(options)])) as [SentinelNode, SentinelNode];
  await replica.redis.client().replicaof(master.redis.host, master.port);
  await eventually('the replica to have it all', async () => {
    return (await replica.redis.client().info('replication')).includes('master_link_status:up');
  });
  const port = await startSentinelProcess(master, options);
  const sentinel = connectTo(port, options);
  const ask = (what: string) => sentinel.call('SENTINEL', what, MASTER).catch(() => []) as Promise<unknown[]>;
  const nodes = [master, replica];
  const masterNow = async () => {
    const [, named] = await ask('get-master-addr-by-name');
    return nodes.find(({ port }) => named === String(port));
  };
  await eventually('the sentinel to know the replica', async () => (await ask('replicas')).length === 1, { timeoutMs: START_TIMEOUT_MS });
  return {
    url: `${options.certificate ? 'rediss' : 'redis'}+sentinel://127.0.0.1:${port}/${MASTER}`,
    master: master.redis,
    replica: replica.redis,
    switchOver: () => sentinel.call('SENTINEL', 'FAILOVER', MASTER),
    whenMasterIs: async (redis) => {
      const named = async () => (await masterNow())?.redis === redis;
      await eventually('the sentinel to name another master', named, { timeoutMs: START_TIMEOUT_MS });
    },
    nodes,
    masterNow,
  };
}

async function startNode({ certificate, proxied }: SentinelOptions): Promise<SentinelNode> {
  const [tlsPort, proxy] = [certificate && (await freePort()), proxied ? await startTcpProxy({ port: 1 }) : undefined];
  const reached = proxy?.port ?? tlsPort;
  const settings = certificate && tlsPort ? tlsSettings(certificate, tlsPort) : [];
  if (reached) settings.push(['replica-announce-port', String(reached)]);
  const redis = await startRedis({ kind: 'private', args: settings.flatMap(([name, value]) => [`--${name}`, value]) });
  proxy?.retarget({ port: tlsPort ?? redis.port });
  return { redis, port: reached ?? redis.port, ...(proxy && { proxy }) };
}

function connectTo(port: number, { username, password, certificate }: SentinelOptions): Redis {
  const login = { ...(username !== undefined && { username }), ...(password !== undefined && { password }) };
  const sentinel = new Redis({ host: '127.0.0.1', port, ...login, ...(certificate && { tls: { rejectUnauthorized: false } }) });
  sentinel.on('error', () => {});
  onCleanup(async () => sentinel.disconnect());
  return sentinel;
}

async function startSentinelProcess(master: SentinelNode, options: SentinelOptions): Promise<number> {
  const { username, password, certificate, failoverTimeoutMs = 5_000 } = options;
  const dir = await mkdtemp(join(tmpdir(), 'stafett-sentinel-'));
  const port = await freePort();
  const file = join(dir, 'sentinel.conf'); // which the sentinel writes to as well
  const guard = username
    ? [`user ${username} on >${password} ~* &* +@all`, 'user default off']
    : password
      ? [`requirepass ${password}`]
      : [];
  const lines = [
    ...(certificate ? [['port', '0'], ...tlsSettings(certificate, port)].map((setting) => setting.join(' ')) : [`port ${port}`]),
    ...guard,
    'bind 127.0.0.1',
    `dir ${dir}`,
    `sentinel monitor ${MASTER} ${master.redis.host} ${master.port} 1`,
    `sentinel down-after-milliseconds ${MASTER} ${DOWN_AFTER_MS}`,
    `sentinel failover-timeout ${MASTER} ${failoverTimeoutMs}`,
  ];
  await writeFile(file, `${lines.join('\n')}\n`);
  const child = startProcess(findRedisProgram(), [file, '--sentinel'], plainEnv());
  onCleanup(async () => {
    await child.kill('SIGKILL');
    await rm(dir, { recursive: true, force: true });
  });
  return port;
}
