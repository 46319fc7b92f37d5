import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { becomes, joinNode, PROCESS, spread, type TestNodeOptions, untilStopped } from '../../support/managed-nodes.js';
import { startStack, type TestServer } from '../../support/stack.js';
import { freshNamespace } from '../../support/stub-stack.js';

let servers: [TestServer, TestServer];
let namespace: string;

beforeAll(async () => {
  const stack = await startStack();
  servers = [stack.server, await stack.addServer()];
});

beforeEach(() => {
  namespace = freshNamespace();
});

const node = (name: string, options: Omit<TestNodeOptions, 'namespace'> = {}, server = servers[0]) =>
  joinNode(server, name, { ...options, namespace });

describe('the slots of a managed process', () => {
  test('one worker is one in the cluster', async () => {
    const { client } = await node('a');
    await spread(client, 1);
    await node('b', {}, servers[1]);
    await spread(client, 1, 0);
  });

  test('are spread, follow an admin who wants fewer, none, and all again', async () => {
    const { client } = await node('a', { workers: 6 });
    await Promise.all([node('b', { workers: 99 }, servers[1]), node('c', {}, servers[1])]);
    const { slots } = await spread(client, 2, 2, 2);
    expect(slots.map(({ slot }) => slot)).toEqual([0, 1, 2, 3, 4, 5]);
    await client.processes.update(PROCESS, { workers: 4 });
    await becomes(client, 'slots 0 to 3', (state) => state.slots.length === 4);
    await spread(client, 2, 1, 1);
    await client.processes.update(PROCESS, { status: 'stopped' });
    expect((await spread(client, 0, 0, 0)).slots).toEqual([]);
    await client.processes.update(PROCESS, { status: 'running' });
    await spread(client, 2, 1, 1);
  });

  test('move to a node that joins, once and no more than needed: 4 become 2 + 2', async () => {
    const { client } = await node('a', { workers: 4 });
    const before = await spread(client, 4);
    const { client: other } = await node('b', {}, servers[1]);
    const after = await spread(client, 2, 2);
    const stayed = after.slots.filter(({ slot, fencingToken }) => fencingToken === before.slots[slot]?.fencingToken);
    expect(stayed.map(({ node: where }) => where)).toEqual(['a', 'a']);
    const tokens = (state: typeof after) => state.slots.map(({ fencingToken }) => fencingToken);
    await other.close();
    const rest = await spread(client, 4);
    expect(tokens(rest).filter((token) => tokens(after).includes(token))).toHaveLength(2);
  });

  test('wait for capacity, and say so', async () => {
    const { client } = await node('a', { workers: 5, capacity: 2 });
    const state = await spread(client, 2);
    expect(state).toMatchObject({ assignedSlots: 2, runningWorkers: 2, pendingSlots: 3 });
    expect(state.slots.slice(2).map(({ state: slot, pendingReason }) => [slot, pendingReason])).toEqual(
      Array(3).fill(['PENDING', 'NO_CAPACITY']),
    );
    const { managed } = await node('b', { capacity: 2 }, servers[1]);
    await spread(client, 2, 2);
    managed.setCapacity(3);
    await spread(client, 3, 2);
    managed.setCapacity(1);
    await spread(client, 2, 1);
  });

  test('never go to an observer, a node with capacity 0', async () => {
    const observer = await node('a', { workers: 2, capacity: 0 });
    const { slots } = await becomes(observer.client, 'two pending slots', (state) => state.pendingSlots === 2);
    expect(slots.map(({ pendingReason }) => pendingReason)).toEqual(['NO_CAPACITY', 'NO_CAPACITY']);
    await node('b', {}, servers[1]);
    await spread(observer.client, 2, 0);
    expect(observer.managed.slots).toEqual([]);
  });

  test('go to others as soon as the workers of a node that leaves have stopped', async () => {
    let stop = () => {};
    let stoppedAt = 0;
    const work = ({ signal }: { signal: AbortSignal }) =>
      new Promise<void>((resolve) => {
        signal.addEventListener('abort', () => {
          stop = () => {
            stoppedAt = performance.now();
            resolve();
          };
        });
      });
    const leaving = await node('a', { work });
    await spread(leaving.client, 1);
    let startedAt = 0;
    const { client } = await node(
      'b',
      {
        work: ({ signal }) => {
          startedAt = performance.now();
          return new Promise((resolve) => signal.addEventListener('abort', resolve));
        },
      },
      servers[1],
    );
    const left = leaving.managed.stop();
    const { slots } = await becomes(client, 'the worker to drain', (state) => state.slots[0]?.state === 'DRAINING');
    expect(slots[0]?.node).toBe('a');
    expect(startedAt).toBe(0);
    stop();
    await left;
    const state = await spread(client, 1);
    expect(state.nodes.map(({ node: name }) => name)).toEqual(['b']);
    expect(startedAt).toBeGreaterThanOrEqual(stoppedAt);
    expect(startedAt - stoppedAt).toBeLessThan(1_000);
  });

  test('never go to a node that has left, though its session lives on', async () => {
    const { client, managed } = await node('a');
    await spread(client, 1);
    await managed.stop();
    for (let i = 0; i < 10; i++) {
      const again = client.processes.manage(PROCESS, { workers: 1 }, untilStopped);
      await spread(client, 1);
      await again.stop();
      expect(await client.processes.get(PROCESS)).toMatchObject({ nodeCount: 0, assignedSlots: 0 });
    }
  });

  test('a client that is closed leaves as politely', async () => {
    const { client: closing } = await node('a', { workers: 2 });
    const { client } = await node('b', {}, servers[1]);
    await spread(client, 1, 1);
    await closing.close();
    const state = await spread(client, 2);
    expect(state.nodeCount).toBe(1);
  });
});
