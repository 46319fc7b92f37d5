import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Worker } from '../../../clients/typescript/src/index.js';
import { gate } from '../../support/client.js';
import { eventually } from '../../support/eventually.js';
import { becomes, joinNode, PROCESS, spread, type TestNodeOptions, untilStopped } from '../../support/managed-nodes.js';
import { startStack, type TestServer } from '../../support/stack.js';
import { freshNamespace } from '../../support/stub-stack.js';

let server: TestServer;
let namespace: string;

beforeAll(async () => {
  ({ server } = await startStack());
});

beforeEach(() => {
  namespace = freshNamespace();
});

const node = (name: string, options: Omit<TestNodeOptions, 'namespace'> = {}) => joinNode(server, name, { ...options, namespace });

describe('a worker', () => {
  test('is told its number, how many there are, and a token that grows', async () => {
    const seen: { slot: number; of: number; token: bigint }[] = [];
    const workers: Worker[] = [];
    const { client } = await node('a', {
      workers: 2,
      work: (worker) => {
        seen.push({ slot: worker.slot, of: worker.of, token: worker.fencingToken });
        workers.push(worker);
        return untilStopped(worker);
      },
    });
    await spread(client, 2);
    expect(seen.map(({ slot, of }) => [slot, of])).toEqual([
      [0, 2],
      [1, 2],
    ]);
    await client.processes.update(PROCESS, { workers: 3 });
    await spread(client, 3);
    expect(workers.map(({ of }) => of)).toEqual([3, 3, 3]);
    expect(seen[2]?.token).toBeGreaterThan(seen[1]?.token as bigint);
  });

  test('that throws is started again after a growing pause, and all can see why', async () => {
    const starts: number[] = [];
    const { client } = await node('a', {
      work: (worker) => {
        starts.push(performance.now());
        if (starts.length <= 3) throw new TypeError('no mail today');
        return untilStopped(worker);
      },
    });
    const { slots } = await becomes(
      client,
      'three restarts',
      (state) => state.slots[0]?.restarts === 3 && state.slots[0].state === 'RUNNING',
    );
    expect(slots[0]).toMatchObject({ restarts: 3, lastError: 'TypeError: no mail today' });
    expect(slots[0]?.lastErrorTime).toBeInstanceOf(Date);
    const pauses = starts.slice(1).map((at, i) => at - (starts[i] as number));
    expect(pauses[0]).toBeGreaterThan(70);
    expect(pauses[2]).toBeGreaterThan(290);
  });

  test('that returns is started again, too, and shown meanwhile', async () => {
    let returns = 0;
    const { client, managed } = await node('a', {
      work: () => {
        returns++;
      },
    });
    await becomes(client, 'a restart', (state) => state.slots[0]?.state === 'RESTARTING' && state.slots[0].restarts > 2);
    expect(returns).toBeGreaterThan(2);
    await managed.stop(); // also in the pause
    expect(managed.slots).toEqual([]);
  });

  test('that ignores its signal past the drain timeout keeps its slot, and is shown so', async () => {
    const end = gate();
    const aborted: unknown[] = [];
    const { client, managed } = await node('a', {
      drainTimeout: '200ms',
      work: ({ signal, abortSignal }) => {
        for (const each of [signal, abortSignal]) each.addEventListener('abort', () => aborted.push(each.reason.reason));
        return end.opened;
      },
    });
    await spread(client, 1);
    let started = 0;
    const other = await node('b', {
      work: (worker) => {
        started++;
        return untilStopped(worker);
      },
    });
    const left = managed.stop();
    const { slots } = await becomes(other.client, 'the worker to be overdue', (state) => state.slots[0]?.state === 'OVERDUE');
    expect(slots[0]?.node).toBe('a');
    expect(aborted).toEqual(['WORKER_DRAINING', 'WORKER_OVERDUE']);
    expect(started).toBe(0);
    end.open();
    await left;
    await spread(other.client, 1);
    expect(started).toBe(1);
  });

  test('that does not stop when the client is closed is not doubled before its session has run out', async () => {
    const end = gate();
    const { client } = await node('a', { work: () => end.opened, ttl: 2_000 });
    await spread(client, 1);
    let startedAt = 0;
    const other = await node('b', {
      work: (worker) => {
        startedAt = performance.now();
        return untilStopped(worker);
      },
    });
    await client.close();
    const closedAt = performance.now();
    await eventually('another worker', () => startedAt > 0);
    expect(startedAt - closedAt).toBeGreaterThan(1_000); // the last keepalive was less than a third of the TTL before
    await spread(other.client, 1);
    end.open();
  });
});
