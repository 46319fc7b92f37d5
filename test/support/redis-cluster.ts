import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Redis } from 'ioredis';
import { slotOf } from '../../server/src/redis/slots.js';
import { eventually } from './eventually.js';
import { freePort } from './ports.js';
import { startRedis, type TestRedis } from './redis.js';
import { findRedisCommandLine } from './redis-private.js';
import { startTcpProxy, type TcpProxy } from './tcp-proxy.js';

const SLOTS = 16_384;
const START_TIMEOUT_MS = 30_000;
/** How long a node may be silent before it counts as gone, ms. */
const NODE_TIMEOUT_MS = 1_000;

/** A node of a cluster, with a connection of the test's own. */
export interface TestNode {
  readonly redis: TestRedis;
  readonly id: string;
  readonly client: Redis;
  /** Between it and all that connect to it by the address that it announces: servers, and its replicas. */
  readonly proxy?: TcpProxy;
}

/** A small cluster of real processes, each master with one replica. They end with the test. */
export class TestCluster {
  constructor(
    /** In the order of their slots: each has the same number of them. */
    readonly masters: readonly TestNode[],
    /** Of the masters, in their order. */
    readonly replicas: readonly TestNode[],
  ) {}

  /** For REDIS_URL. Some of the nodes: the others are found. */
  get url(): string {
    const some = [...this.masters.slice(0, 1), ...this.replicas.slice(0, 1)];
    return `redis+cluster://${some.map(({ redis, proxy }) => proxy?.address ?? `${redis.host}:${redis.port}`)}`;
  }

  /** The master that had the slot at first. */
  masterOf(slot: number): number {
    return Math.floor((slot * this.masters.length) / SLOTS);
  }

  /** A namespace that no other test uses, whose slot this master has, one of its first so many if that is said. */
  namespaceAt(master: number, among = SLOTS): string {
    while (true) {
      const namespace = `test-${Math.random().toString(36).slice(2)}`;
      const slot = slotOfNamespace(namespace);
      if (this.masterOf(slot) === master && slot < firstSlot(master, this.masters.length) + among) return namespace;
    }
  }

  /** Until another node is the master of the slots of this one. */
  async whenReplaced(master: number): Promise<void> {
    const { client } = this.replicas[master] as TestNode;
    const promoted = async () => /^role:master/m.test(await client.info('replication')) && (await isOk(client));
    await eventually('the replica to be promoted', promoted, { timeoutMs: START_TIMEOUT_MS });
  }

  /** Begins to move a slot. */
  async openSlot(slot: number, from: TestNode, to: TestNode): Promise<void> {
    await to.client.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', from.id);
    await from.client.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', to.id);
  }

  /** Moves up to so many keys of the slot, and returns how many it were. */
  async moveKeys(slot: number, from: TestNode, to: TestNode, count: number): Promise<number> {
    const keys = (await from.client.call('CLUSTER', 'GETKEYSINSLOT', slot, count)) as string[];
    if (keys.length > 0) await from.client.call('MIGRATE', to.redis.host, to.redis.port, '', 0, 5_000, 'KEYS', ...keys);
    return keys.length;
  }

  /** Ends the move: the slot belongs to `to`. The same with `from` for both gives it up. */
  async closeSlot(slot: number, to: TestNode, masters = this.masters): Promise<void> {
    for (const { client } of [to, ...masters.filter((node) => node !== to)]) await client.call('CLUSTER', 'SETSLOT', slot, 'NODE', to.id);
  }

  /** Moves the first slots of a master by the tool that everybody uses, one slot after the other. */
  async reshard(count: number, from: TestNode, to: TestNode): Promise<void> {
    const args = ['--cluster-from', from.id, '--cluster-to', to.id, '--cluster-slots', String(count), '--cluster-yes'];
    await promisify(execFile)(findRedisCommandLine(), ['--cluster', 'reshard', `${from.redis.host}:${from.redis.port}`, ...args]);
  }

  /** Makes the replica the master, in agreement with the master: both live on. */
  async switchOver(master: number): Promise<void> {
    await (this.replicas[master] as TestNode).client.call('CLUSTER', 'FAILOVER');
    await this.whenReplaced(master);
  }

  /** As `redis-cli --cluster reshard` does it, so many keys at a time and with a pause after each. */
  async moveSlot(
    slot: number,
    from: TestNode,
    to: TestNode,
    afterEach: () => Promise<unknown> = async () => {},
    keysAtOnce = 10,
  ): Promise<void> {
    await this.openSlot(slot, from, to);
    await afterEach();
    while ((await this.moveKeys(slot, from, to, keysAtOnce)) > 0) await afterEach();
    await this.closeSlot(slot, to);
  }
}

export function slotOfNamespace(namespace: string): number {
  return slotOf(`stafett:{${namespace}}:`);
}

export interface TestClusterOptions {
  /** Default: 3. */
  readonly masters?: number;
  /** Default: true. */
  readonly replicas?: boolean;
  /** A proxy before each node. Default: false. */
  readonly proxied?: boolean;
  /** More of each node's configuration. */
  readonly args?: readonly string[];
}

export async function startCluster({
  masters: count = 3,
  replicas: withReplicas = true,
  proxied = false,
  args = [],
}: TestClusterOptions = {}): Promise<TestCluster> {
  const nodes = await Promise.all(Array.from({ length: count * (withReplicas ? 2 : 1) }, () => startNode(args, proxied)));
  const [masters, replicas] = [nodes.slice(0, count), nodes.slice(count)];
  for (const [i, { client }] of nodes.entries()) {
    await client.call('CLUSTER', 'SET-CONFIG-EPOCH', i + 1);
    if (i < count) await client.call('CLUSTER', 'ADDSLOTSRANGE', firstSlot(i, count), firstSlot(i + 1, count) - 1);
    const [first] = nodes as [TestNode];
    const busPort = ((await first.client.config('GET', 'cluster-port')) as string[])[1] as string;
    if (i > 0) await client.call('CLUSTER', 'MEET', first.redis.host, first.redis.port, busPort);
  }
  const knowsAll = async ({ client }: TestNode) => (await isOk(client)) && (await knownNodes(client)) === nodes.length;
  await eventually('the nodes to know each other', async () => (await Promise.all(nodes.map(knowsAll))).every(Boolean), {
    timeoutMs: START_TIMEOUT_MS,
  });
  for (const [i, { client }] of replicas.entries()) await client.call('CLUSTER', 'REPLICATE', masters[i]?.id as string);
  for (const { client } of replicas) await eventually('the replicas', () => isInSync(client), { timeoutMs: START_TIMEOUT_MS });
  return new TestCluster(masters, replicas);
}

async function startNode(args: readonly string[], proxied: boolean): Promise<TestNode> {
  const [proxy, busPort] = [proxied ? await startTcpProxy({ port: 1 }) : undefined, await freePort()];
  const announced = proxy ? ['--cluster-announce-port', String(proxy.port), '--cluster-announce-bus-port', String(busPort)] : [];
  const redis = await startRedis({
    kind: 'private',
    args: [
      ...['--cluster-enabled', 'yes', '--cluster-port', String(busPort), '--cluster-node-timeout', String(NODE_TIMEOUT_MS)],
      // The other slots go on while one has no master.
      ...['--cluster-require-full-coverage', 'no', '--cluster-replica-validity-factor', '0', '--cluster-allow-replica-migration', 'no'],
      ...['--repl-diskless-sync-delay', '0', ...announced, ...args],
    ],
  });
  const client = redis.client();
  proxy?.retarget({ port: redis.port });
  return { redis, client, id: (await client.call('CLUSTER', 'MYID')) as string, ...(proxy && { proxy }) };
}

function firstSlot(master: number, masters: number): number {
  return Math.ceil((master * SLOTS) / masters);
}

async function isOk(client: Redis): Promise<boolean> {
  return ((await client.call('CLUSTER', 'INFO')) as string).includes('cluster_state:ok');
}

async function knownNodes(client: Redis): Promise<number> {
  return ((await client.call('CLUSTER', 'NODES')) as string).trim().split('\n').length;
}

async function isInSync(client: Redis): Promise<boolean> {
  return (await client.info('replication')).includes('master_link_status:up');
}
