import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { eventually } from '../../support/eventually.js';
import { becomes, joinNode, PROCESS, spread, type TestNodeOptions, untilStopped } from '../../support/managed-nodes.js';
import { startStack, type TestServer } from '../../support/stack.js';
import { freshNamespace } from '../../support/stub-stack.js';

let servers: [TestServer, TestServer];
let namespace: string;

beforeAll(async () => {
  const stack = await startStack({ env: { STAFETT_MAX_PROCESSES: '3', STAFETT_MAX_WORKERS: '8' } });
  servers = [stack.server, await stack.addServer()];
});

beforeEach(() => {
  namespace = freshNamespace();
});

const node = (name: string, options: Omit<TestNodeOptions, 'namespace'> = {}, server = servers[0]) =>
  joinNode(server, name, { ...options, namespace });

const reason = (name: string) => expect.objectContaining({ reason: name });

describe('the config of a managed process', () => {
  test('is what was declared first, and then what an admin makes of it', async () => {
    const { client, managed } = await node('a', { workers: 2, status: 'stopped' });
    const { client: other } = await node('b', { workers: 5 }, servers[1]);
    expect((await other.processes.get(PROCESS)).config).toMatchObject({ workers: 2, status: 'stopped', revision: 1n });
    expect(await other.processes.update(PROCESS, { status: 'running' })).toMatchObject({ workers: 2, status: 'running', revision: 2n });
    await node('c', { workers: 7 });
    expect((await client.processes.get(PROCESS)).config).toMatchObject({ workers: 2, revision: 2n });
    await eventually('the node to hear of it', () => managed.config?.revision === 2n);
  });

  test('is only changed from the revision that is given, if one is', async () => {
    const { client } = await node('a');
    const { revision } = await client.processes.update(PROCESS, { workers: 3 });
    await expect(client.processes.update(PROCESS, { workers: 4, revision: 1n })).rejects.toEqual(reason('REVISION_MISMATCH'));
    const after = await client.processes.update(PROCESS, { workers: 4, revision });
    expect(after).toMatchObject({ workers: 4, revision: 3n });
    expect(await client.processes.update(PROCESS, { workers: 4 })).toEqual(after); // nothing is changed
  });

  test('stays when the last node has left, until it is deleted', async () => {
    const { client, managed } = await node('a', { workers: 2 });
    await spread(client, 2);
    await client.processes.update(PROCESS, { workers: 3 });
    await expect(client.processes.delete(PROCESS)).rejects.toEqual(reason('PROCESS_IN_USE'));
    await managed.stop();
    const state = await client.processes.get(PROCESS);
    expect(state).toMatchObject({ config: { workers: 3 }, nodeCount: 0, pendingSlots: 3 });
    expect(state.slots[0]?.pendingReason).toBe('NO_NODES');
    await client.processes.delete(PROCESS);
    await expect(client.processes.get(PROCESS)).rejects.toEqual(reason('PROCESS_NOT_FOUND'));
    await expect(client.processes.delete(PROCESS)).rejects.toEqual(reason('PROCESS_NOT_FOUND'));
    await expect(client.processes.update(PROCESS, { workers: 1 })).rejects.toEqual(reason('PROCESS_NOT_FOUND'));
  });
});

describe('the state of a managed process', () => {
  test('tells nodes, slots and counts', async () => {
    const { client } = await node('a', { workers: 2, capacity: 5 });
    const { nodes, slots, ...rest } = await spread(client, 2);
    expect(rest).toMatchObject({ name: PROCESS, nodeCount: 1, assignedSlots: 2, runningWorkers: 2, pendingSlots: 0 });
    const { id } = client.session;
    expect(nodes).toEqual([
      expect.objectContaining({ sessionId: id, node: 'a', host: 'a', client: 'mail/1.2', capacity: 5, activeWorkers: 2, slots: [0, 1] }),
    ]);
    expect(Date.now() - (nodes[0]?.heartbeatTime.getTime() ?? 0)).toBeLessThan(20_000);
    expect(slots[1]).toMatchObject({ slot: 1, state: 'RUNNING', sessionId: id, node: 'a', restarts: 0 });
    const lock = await client.locks.get(`~process/${PROCESS}/1`);
    expect(lock.holder).toMatchObject({ sessionId: id, fencingToken: slots[1]?.fencingToken, purpose: `worker 1 of ${PROCESS}` });
  });

  test('is watched from before the first declaration on, through another server', async () => {
    const { client } = await node('z', { workers: 0 });
    await client.processes.update(PROCESS, { workers: 0 });
    const seen: number[] = [];
    const watching = (async () => {
      for await (const state of client.processes.watch(PROCESS)) {
        if (seen.at(-1) !== state.runningWorkers) seen.push(state.runningWorkers);
        if (state.config?.status === 'stopped' && state.assignedSlots === 0) return;
      }
    })();
    await node('b', {}, servers[1]);
    await client.processes.update(PROCESS, { workers: 2 });
    await spread(client, 1, 1);
    await client.processes.update(PROCESS, { status: 'stopped' });
    await watching;
    expect([seen[0], Math.max(...seen), seen.at(-1)]).toEqual([0, 2, 0]);
    const nothing = [];
    for await (const state of client.processes.watch('unknown', { timeout: '100ms' })) nothing.push(state.config);
    expect(nothing).toEqual([undefined]);
  });

  test('is listed by name', async () => {
    const { client } = await node('a', { workers: 1 });
    client.processes.manage('a process', { workers: 3, capacity: 1 }, untilStopped);
    await becomes(client, 'one worker', ({ runningWorkers }) => runningWorkers === 1);
    const list = async () => {
      const found: unknown[] = [];
      for await (const { name, runningWorkers, pendingSlots } of client.processes.list()) found.push([name, runningWorkers, pendingSlots]);
      return found;
    };
    await eventually('both to be listed', async () =>
      expect(await list()).toEqual([
        ['a process', 1, 2],
        [PROCESS, 1, 0],
      ]),
    );
  });
});
