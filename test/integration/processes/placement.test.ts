import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { ClusterState, ManageOptions, Stafett, Worker } from '../../../clients/typescript/src/index.js';
import { connectClient } from '../../support/client.js';
import { eventually } from '../../support/eventually.js';
import { startStack, type TestServer, type TestStack } from '../../support/stack.js';
import { freshNamespace } from '../../support/stub-stack.js';

let stack: TestStack;
let servers: TestServer[];
let namespace: string;

beforeAll(async () => {
  stack = await startStack();
  servers = [stack.server, await stack.addServer()];
});

beforeEach(() => {
  namespace = freshNamespace();
});

/** Runs until it is told to stop. */
function work({ signal }: Worker): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve());
  });
}

/** A node of the process `p` with a client of its own, on one of the servers. */
async function node(name: string, options: Partial<ManageOptions> = {}, server = servers[0]!) {
  const client = await connectClient(server, { namespace, host: name });
  const managed = client.processes.manage('p', { workers: 1, node: name, ...options }, work);
  await managed.joined();
  return { client, managed };
}

/** Waits until as many workers run, spread so over the nodes, whichever, and shows the state. */
function running(client: Stafett, ...counts: number[]): Promise<ClusterState> {
  const settled = async () => {
    const state = await client.processes.get('p');
    const calm = state.slots.every((slot) => slot.state === 'RUNNING' || slot.state === 'PENDING');
    const spread = state.nodes.map(({ activeWorkers }) => activeWorkers).sort((a, b) => b - a);
    return calm && JSON.stringify(spread) === JSON.stringify(counts) && state;
  };
  return eventually(`${counts.join(' + ')} workers`, settled) as Promise<ClusterState>;
}

describe('a managed process', () => {
  test('runs once in the cluster', async () => {
    const one = await node('a');
    await running(one.client, 1);
    await node('b', {}, servers[1]);
    await running(one.client, 1, 0);
  });

  test('is spread over nodes, scaled down, stopped and started', async () => {
    const { client } = await node('a', { workers: 6 });
    await node('b', {}, servers[1]);
    await node('c', {}, servers[1]);
    await running(client, 2, 2, 2);
    await client.processes.update('p', { workers: 4 });
    expect((await running(client, 2, 1, 1)).slots.map(({ slot }) => slot)).toEqual([0, 1, 2, 3]);
    await client.processes.update('p', { status: 'stopped' });
    expect((await running(client, 0, 0, 0)).slots).toEqual([]);
    await client.processes.update('p', { status: 'running' });
    await running(client, 2, 1, 1);
  });
});
