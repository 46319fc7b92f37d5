import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { ClusterState, Stafett } from '../../clients/typescript/src/index.js';
import { connectClient } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { type NodeProcess, type NodeSettings, startNode, type ToldWorkerEvent } from '../support/node-process.js';
import { findOverruns, toRuns } from '../support/overruns.js';
import { startServer, startStack, type TestServer, type TestStack } from '../support/stack.js';
import { freshNamespace } from '../support/stub-stack.js';

// Real nodes, in processes of their own, which tell what their workers do.

/** Longer than it takes to start another Redis in Docker. */
const TTL_MS = 3_000;
const TAKEOVER_MS = TTL_MS + 1_000;

let stack: TestStack;
let namespace: string;
let events: ToldWorkerEvent[];

// One for all: the first tests leave it as it is, the last end it.
beforeAll(async () => {
  stack = await startStack({ env: { STAFETT_MAX_TTL: `${TTL_MS}ms` } });
});

beforeEach(() => {
  namespace = freshNamespace();
  events = [];
});

function node(name: string, servers: readonly TestServer[], settings: Partial<NodeSettings> = {}): Promise<NodeProcess> {
  const addresses = servers.map(({ address }) => address);
  return startNode({ name, addresses, namespace, ttlMs: TTL_MS, workers: 4, stopMs: 50, ...settings }, events);
}

function admin(...servers: TestServer[]): Promise<Stafett> {
  return connectClient(servers, { namespace, ttl: TTL_MS });
}

/** Waits until so many workers run on each node. */
function running(client: Stafett, counts: Record<string, number>): Promise<ClusterState> {
  const ask = async () => {
    const state = await client.processes.get('p');
    const found = Object.fromEntries(state.nodes.map(({ node: name, activeWorkers }) => [name, activeWorkers]));
    return (
      Object.keys(found).length === Object.keys(counts).length && Object.entries(counts).every(([name, n]) => found[name] === n) && state
    );
  };
  return eventually(`workers ${JSON.stringify(counts)}`, ask, { timeoutMs: 20_000 }) as Promise<ClusterState>;
}

/** Waits until three workers run, and no others are about to. */
function three(client: Stafett): Promise<ClusterState> {
  const ask = async () => {
    const state = await client.processes.get('p').catch(() => undefined); // after a loss of data it may not be known yet
    return state?.runningWorkers === 3 && state.slots.length === 3 && state;
  };
  return eventually('three workers', ask, { timeoutMs: 20_000 }) as Promise<ClusterState>;
}

const tokensOf = ({ slots }: ClusterState) => slots.map(({ fencingToken }) => fencingToken);

describe('a managed process when', () => {
  test('a node is killed: its slots go to the others within the TTL and a second', async () => {
    const { server } = stack;
    const client = await admin(server);
    const a = await node('a', [server]);
    await node('b', [server]);
    const before = new Set(tokensOf(await running(client, { a: 2, b: 2 })).map(String));
    await a.process.kill();
    await running(client, { b: 4 });
    const runs = toRuns(events);
    const lastOfA = Math.max(...runs.filter((run) => run.node === 'a').map(({ until }) => until));
    const takenOver = runs.filter(({ node: name, token }) => name === 'b' && !before.has(token));
    expect(takenOver).toHaveLength(2);
    expect((Math.max(...takenOver.map(({ from }) => from)) - lastOfA) / 1_000).toBeLessThan(TAKEOVER_MS);
    expect(findOverruns(events, 4)).toEqual([]);
  });

  test('a node is frozen beyond its TTL: its workers stop before their next step, and it comes back as a new node', async () => {
    const { server } = stack;
    const client = await admin(server);
    const a = await node('a', [server]);
    await node('b', [server]);
    await running(client, { a: 2, b: 2 });
    a.process.pause();
    await running(client, { b: 4 });
    a.process.resume();
    await running(client, { a: 2, b: 2 });
    expect(findOverruns(events, 4)).toEqual([]);
  });

  test('there are to be fewer: none is started while so many still run', async () => {
    const { server } = stack;
    const client = await admin(server);
    await node('a', [server], { workers: 6, stopMs: 400 });
    await node('b', [server], { stopMs: 50 });
    await node('c', [server], { stopMs: 50, capacity: 4 });
    await running(client, { a: 2, b: 2, c: 2 });
    for (const workers of [2, 5, 1, 3]) {
      await client.processes.update('p', { workers });
      const since = Number(process.hrtime.bigint() / 1_000n);
      await eventually(`${workers} workers`, async () => {
        const state = await client.processes.get('p');
        return state.runningWorkers === workers && state.assignedSlots === workers;
      });
      const runs = toRuns(events);
      for (const run of runs.filter(({ from }) => from > since)) {
        const beside = runs.filter((other) => other !== run && other.from <= run.from && other.until > run.from);
        expect(beside.length + 1).toBeLessThanOrEqual(workers);
      }
    }
    expect(findOverruns(events, 6)).toEqual([]);
  });

  test('a server is killed: all workers go on, under the same tokens', async () => {
    const { server } = stack;
    const mortal = await stack.addServer();
    const client = await admin(server);
    await node('a', [mortal, server]);
    await node('b', [server]);
    const before = await running(client, { a: 2, b: 2 });
    await mortal.kill();
    const since = Number(process.hrtime.bigint() / 1_000n);
    await eventually('a to report through the other server', async () => {
      await client.processes.update('p', { workers: 6 });
      return (await client.processes.get('p')).runningWorkers === 6;
    });
    expect(tokensOf(await running(client, { a: 3, b: 3 })).slice(0, 4)).toEqual(tokensOf(before));
    const tokens = new Set(tokensOf(before).map(String));
    await eventually('the four workers to have gone on', () => {
      return toRuns(events).filter(({ token, until }) => tokens.has(token) && until > since).length === 4;
    });
    expect(findOverruns(events, 6)).toEqual([]);
  });

  test('Redis comes back empty: the same workers go on, and the config is the admin’s', async () => {
    const { server, redis } = stack;
    const client = await admin(server);
    await node('a', [server]);
    await node('b', [server]);
    await running(client, { a: 2, b: 2 });
    const { revision } = await client.processes.update('p', { workers: 3 });
    const before = await three(client);
    await redis.kill();
    await redis.start();
    const after = await three(client);
    expect(tokensOf(after)).toEqual(tokensOf(before));
    expect(after.config).toMatchObject({ workers: 3, revision });
    await client.processes.update('p', { workers: 4 }); // who waits for the end of the grace period
    await running(client, { a: 2, b: 2 });
    expect(findOverruns(events, 4)).toEqual([]);
  });

  test('Redis and all nodes are gone: a server that lives remembers the config', async () => {
    const { server, redis } = stack;
    const client = await admin(server);
    const a = await node('a', [server]);
    await running(client, { a: 4 });
    const { revision } = await client.processes.update('p', { workers: 7, status: 'stopped' });
    await a.process.kill('SIGTERM');
    await redis.kill();
    await redis.start();
    await node('b', [server], { workers: 1 });
    expect((await client.processes.get('p')).config).toMatchObject({ workers: 7, status: 'stopped', revision });
  });

  test('Redis and all servers are gone: a node that lives remembers the config', async () => {
    const { server, redis } = stack;
    const client = await admin(server);
    await node('a', [server]);
    await running(client, { a: 4 });
    const { revision } = await client.processes.update('p', { workers: 2 });
    await running(client, { a: 2 });
    await Promise.all([server.kill(), redis.kill()]);
    await redis.start();
    const env = { STAFETT_MAX_TTL: `${TTL_MS}ms`, STAFETT_REDIS_IS_NEW: 'false' };
    await startServer({ redis, env, grpcPort: server.grpcPort });
    const { config } = await running(client, { a: 2 });
    expect(config).toMatchObject({ workers: 2, revision });
  });
});
