import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, expect, test } from 'vitest';
import type { Lock, Stafett } from '../../clients/typescript/src/index.js';
import { connectClient, queued } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { startServer, type TestServer } from '../support/stack.js';
import { freshNamespace } from '../support/stub-stack.js';

// Issue 3.2: a server dies or is stopped under load. Its clients go on at another one within 2 s, with every lock and every place in every
// queue; nobody's call fails. (The chaos run does the same with client processes, and checks the whole history.)

const RESUMED_MS = 2_000;
const CLIENTS = 6;
const WAITERS = 12;

let redis: TestRedis;
let servers: TestServer[];
let clients: Stafett[];
/** How long each client was without a server, ms. */
let gapsMs: number[];
let stopped: boolean;

async function restart(i: number, end: 'kill' | 'stop'): Promise<void> {
  const server = servers[i] as TestServer;
  await server[end]();
  servers[i] = await startServer({ redis, grpcPort: server.grpcPort, httpPort: server.httpPort });
}

beforeEach(async () => {
  redis = await startRedis();
  servers = await Promise.all([1, 2].map(() => startServer({ redis })));
  const namespace = freshNamespace();
  gapsMs = [];
  stopped = false;
  clients = await Promise.all(
    Array.from({ length: CLIENTS }, async (_, i) => {
      const client = await connectClient(i % 2 ? servers : servers.toReversed(), { namespace });
      let since = 0;
      client.session.onStateChange((state) => {
        if (state === 'SUSPENDED') since = performance.now();
        else gapsMs.push(Math.round(performance.now() - since));
      });
      return client;
    }),
  );
});

/** Each client takes and gives back one of a few locks, again and again. @returns how often it did. */
async function load({ locks }: Stafett): Promise<number> {
  let count = 0;
  for (; !stopped; count++) await locks.run(`load/${count % 3}`, () => sleep(1));
  return count;
}

test.each<[string, () => Promise<void>]>([
  ['a server is killed', () => restart(0, 'kill')],
  [
    'all servers are restarted, one after the other',
    async () => {
      for (const i of servers.keys()) await restart(i, 'stop');
    },
  ],
])('%s: locks and places are kept, no call fails, and clients are back within 2 s', async (_, strike) => {
  const ids = clients.map(({ session }) => session.id);
  const held = await Promise.all(clients.map(({ locks }, i) => locks.acquire([`held/${i}`, ...(i === 0 ? ['queue'] : [])])));
  const order: number[] = [];
  const waits: Promise<void>[] = [];
  for (let i = 0; i < WAITERS; i++) {
    waits.push((clients[i % CLIENTS] as Stafett).locks.run('queue', () => void order.push(i)));
    await queued(clients[0] as Stafett, 'queue', i + 1);
  }
  const loads = clients.map(load);
  await strike();
  await eventually('all clients to be connected', () => gapsMs.length > 0 && clients.every(({ session }) => session.state === 'CONNECTED'));
  for (const lock of held) lock.assertHeld();
  await (held[0] as Lock).release();
  await Promise.all(waits);
  stopped = true;
  for (const count of await Promise.all(loads)) expect(count).toBeGreaterThan(0);
  console.log(`fault: clients without a server for ${gapsMs.toSorted((a, b) => a - b).join(', ')} ms`);
  expect(order).toEqual(Array.from({ length: WAITERS }, (_, i) => i));
  expect(clients.map(({ session }) => session.id)).toEqual(ids);
  expect(Math.max(...gapsMs)).toBeLessThan(RESUMED_MS);
  for (const lock of held.slice(1)) await lock.release();
});
