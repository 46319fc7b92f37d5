import { beforeAll, expect, test } from 'vitest';
import { connectClient } from '../../support/client.js';
import { eventually } from '../../support/eventually.js';
import { untilStopped } from '../../support/managed-nodes.js';
import { metric } from '../../support/slow-reader.js';
import { startStack, type TestStack } from '../../support/stack.js';
import { freshNamespace } from '../../support/stub-stack.js';

// A node of so many processes that joining them all at once would keep client and server from hearing its keepalives.

const PROCESSES = 100;
const AT_ONCE = 32;

let stack: TestStack;

beforeAll(async () => {
  stack = await startStack();
});

/** Streams that have been opened. */
const joinsBegun = () => metric(stack.server, 'grpc_server_started_total', 'grpc_method="JoinProcess"');

test('a node joins so many processes at once, and in the end all', async () => {
  const client = await connectClient(stack.server, { namespace: freshNamespace(), ttl: 30_000 });
  await stack.redis.pause(); // no join is answered
  const all = Array.from({ length: PROCESSES }, (_, i) => client.processes.manage(`process-${i}`, { workers: 1 }, untilStopped));
  await eventually('the first to be under way', async () => (await joinsBegun()) >= AT_ONCE);
  await client.processes.get('').catch(() => {}); // goes the same way, after what has been opened by now
  expect(await joinsBegun()).toBe(AT_ONCE);
  const waits = all[PROCESSES - 1]?.stop(); // has not begun to join
  await stack.redis.resume();
  await Promise.all(all.slice(0, -1).map((managed) => managed.joined()));
  await waits;
  await eventually('a worker of each', () => all.slice(0, -1).every(({ slots }) => slots[0]?.state === 'RUNNING'));
});
