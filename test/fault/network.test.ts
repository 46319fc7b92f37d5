import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Lock, SessionState, Stafett } from '../../clients/typescript/src/index.js';
import { connectClient, queued } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { httpGet } from '../support/server-checks.js';
import { startStack, type TestServer, type TestStack } from '../support/stack.js';
import { freshNamespace } from '../support/stub-stack.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';

// Issue 3.7: the network between client and server, or server and Redis, is cut, half-open, slow, or drops one direction.

const TTL_MS = 3_000;
/** A server finds out within 7 s that its connection to Redis is dead; who is to keep a session must have longer. */
const LONG_TTL_MS = 20_000;
const NOTICED_MS = 7_000;
const SLOW_MS = 150;

let stack: TestStack;
let namespace: string;
let proxy: TcpProxy;
let client: Stafett;
let other: Stafett;
let states: SessionState[];

type Fault = [name: string, break_: () => void, heal: () => unknown];

const FAULTS: Fault[] = [
  [
    'is cut',
    () => {
      proxy.refuse();
      proxy.cut();
    },
    () => proxy.accept(),
  ],
  ['is half-open', () => proxy.pause(), () => proxy.resume()],
  ['drops what goes up', () => proxy.pause('up'), () => proxy.resume('up')],
  ['drops what comes down', () => proxy.pause('down'), () => proxy.resume('down')],
];

/** A lock, and who waits for it: the client, the other, and the client again. */
async function holdAndQueue(): Promise<{ lock: Lock; order: number[]; all: Promise<unknown> }> {
  const lock = await client.locks.acquire('a');
  const order: number[] = [];
  const all: Promise<void>[] = [];
  for (const [i, who] of [client, other, client].entries()) {
    all.push(who.locks.run('a', () => void order.push(i)));
    await queued(other, 'a', i + 1);
  }
  return { lock, order, all: Promise.all(all) };
}

function follow({ session }: Stafett): void {
  states = [];
  session.onStateChange((state) => states.push(state));
}

describe('when the network between client and server', () => {
  beforeEach(async () => {
    stack = await startStack({ env: { STAFETT_MAX_TTL: '30s' } });
    namespace = freshNamespace();
    proxy = await startTcpProxy({ port: stack.server.grpcPort });
    const spare = await stack.addServer();
    client = await connectClient([proxy, spare], { namespace, ttl: TTL_MS });
    other = await connectClient(stack.server, { namespace, ttl: TTL_MS });
    follow(client);
  });

  test.each(FAULTS)('%s, the client goes on at another server within the TTL, with its lock and its places', async (name, break_, heal) => {
    const { id } = client.session;
    const { lock, order, all } = await holdAndQueue();
    const since = performance.now();
    break_();
    await eventually('the client to have moved', () => states.includes('CONNECTED'), { timeoutMs: TTL_MS });
    console.log(`fault: the network of a client ${name}: another server after ${Math.round(performance.now() - since)} ms`);
    expect([client.session.id, ...states]).toEqual([id, 'SUSPENDED', 'CONNECTED']);
    lock.assertHeld();
    await lock.release();
    await all;
    await heal();
    expect(order).toEqual([0, 1, 2]);
  });

  test('is slow, everything takes longer, and nothing else happens', async () => {
    const { lock, order, all } = await holdAndQueue();
    proxy.delay(SLOW_MS);
    await sleep(TTL_MS);
    expect(states).toEqual([]);
    lock.assertHeld();
    await lock.release();
    await all;
    expect(order).toEqual([0, 1, 2]);
  });
});

describe('when the network between server and Redis', () => {
  let server: TestServer;

  beforeEach(async () => {
    stack = await startStack();
    namespace = freshNamespace();
    proxy = await startTcpProxy({ host: stack.redis.host, port: stack.redis.port });
    server = await stack.addServer({ env: { REDIS_URL: `redis://127.0.0.1:${proxy.port}` } });
    client = await connectClient(server, { namespace, ttl: LONG_TTL_MS });
    other = await connectClient(stack.server, { namespace, ttl: LONG_TTL_MS });
    follow(client);
  });

  const readiness = async () => (await httpGet(server, '/readyz')).status;

  test.each(FAULTS)(
    '%s, the server says so in time, and goes on when it is back: no lock and no place is lost',
    async (name, break_, heal) => {
      const { lock, order, all } = await holdAndQueue();
      const since = performance.now();
      break_();
      await eventually('the server to notice', async () => (await readiness()) === 503, { timeoutMs: NOTICED_MS });
      console.log(`fault: the network of Redis ${name}: noticed after ${Math.round(performance.now() - since)} ms`);
      await heal();
      await eventually('the server to be ready', async () => (await readiness()) === 200);
      lock.assertHeld();
      await lock.release();
      await all;
      expect(order).toEqual([0, 1, 2]);
      expect(states).not.toContain('LOST');
    },
  );

  test('is slow, everything takes longer, and nothing else happens', async () => {
    const { lock, order, all } = await holdAndQueue();
    proxy.delay(SLOW_MS);
    await Promise.all(Array.from({ length: 20 }, (_, i) => client.locks.run(`b/${i % 4}`, () => {})));
    expect(states).toEqual([]);
    expect(server.logs().filter(({ msg }) => /epoch|clock/.test(msg))).toEqual([]);
    lock.assertHeld();
    await lock.release();
    await all;
    expect(order).toEqual([0, 1, 2]);
  });
});
