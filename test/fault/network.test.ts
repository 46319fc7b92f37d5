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

interface Scene {
  readonly proxy: TcpProxy;
  readonly client: Stafett;
  readonly other: Stafett;
  /** Of the client's session since it began. */
  readonly states: SessionState[];
}

type Fault = [name: string, break_: (proxy: TcpProxy) => void, heal: (proxy: TcpProxy) => unknown];

const FAULTS: Fault[] = [
  [
    'is cut',
    (proxy) => {
      proxy.refuse();
      proxy.cut();
    },
    (proxy) => proxy.accept(),
  ],
  ['is half-open', (proxy) => proxy.pause(), (proxy) => proxy.resume()],
  ['drops what goes up', (proxy) => proxy.pause('up'), (proxy) => proxy.resume('up')],
  ['drops what comes down', (proxy) => proxy.pause('down'), (proxy) => proxy.resume('down')],
];
const NAMES_OF_FAULTS = FAULTS.map(([name]) => name).join(', ');

/** Each fault in a scene of its own, all at once, for what they do most is to wait. A failure tells its fault. */
async function eachFault<S extends Scene>(setUp: () => Promise<S>, act: (scene: S, fault: Fault) => Promise<void>): Promise<void> {
  const scenes: S[] = [];
  for (const _ of FAULTS) scenes.push(await setUp());
  const ended = await Promise.allSettled(FAULTS.map((fault, i) => act(scenes[i] as S, fault)));
  const failed = ended.flatMap((end, i) => (end.status === 'rejected' ? [`when it ${FAULTS[i]?.[0]}: ${end.reason?.stack}`] : []));
  expect(failed).toEqual([]);
}

let stack: TestStack;

/** A lock, and who waits for it: the client, the other, and the client again. */
async function holdAndQueue({ client, other }: Scene): Promise<{ lock: Lock; order: number[]; all: Promise<unknown> }> {
  const lock = await client.locks.acquire('a');
  const order: number[] = [];
  const all: Promise<void>[] = [];
  for (const [i, who] of [client, other, client].entries()) {
    all.push(who.locks.run('a', () => void order.push(i)));
    await queued(other, 'a', i + 1);
  }
  return { lock, order, all: Promise.all(all) };
}

function follow({ session }: Stafett): SessionState[] {
  const states: SessionState[] = [];
  session.onStateChange((state) => states.push(state));
  return states;
}

describe('when the network between client and server', () => {
  let spare: TestServer;

  beforeEach(async () => {
    stack = await startStack({ env: { STAFETT_MAX_TTL: '30s' } });
    spare = await stack.addServer();
  });

  async function scene(): Promise<Scene> {
    const namespace = freshNamespace();
    const proxy = await startTcpProxy({ port: stack.server.grpcPort });
    const client = await connectClient([proxy, spare], { namespace, ttl: TTL_MS });
    const other = await connectClient(stack.server, { namespace, ttl: TTL_MS });
    return { proxy, client, other, states: follow(client) };
  }

  test(`${NAMES_OF_FAULTS}, the client goes on at another server within the TTL, with its lock and its places`, async () => {
    await eachFault(scene, async (it, [name, break_, heal]) => {
      const { proxy, client, states } = it;
      const { id } = client.session;
      const { lock, order, all } = await holdAndQueue(it);
      const since = performance.now();
      break_(proxy);
      await eventually('the client to have moved', () => states.includes('CONNECTED'), { timeoutMs: TTL_MS });
      console.log(`fault: the network of a client ${name}: another server after ${Math.round(performance.now() - since)} ms`);
      expect([client.session.id, ...states]).toEqual([id, 'SUSPENDED', 'CONNECTED']);
      lock.assertHeld();
      await lock.release();
      await all;
      await heal(proxy);
      expect(order).toEqual([0, 1, 2]);
    });
  });

  test('is slow, everything takes longer, and nothing else happens', async () => {
    const it = await scene();
    const { lock, order, all } = await holdAndQueue(it);
    it.proxy.delay(SLOW_MS);
    await sleep(TTL_MS);
    expect(it.states).toEqual([]);
    lock.assertHeld();
    await lock.release();
    await all;
    expect(order).toEqual([0, 1, 2]);
  });
});

describe('when the network between server and Redis', () => {
  beforeEach(async () => {
    stack = await startStack();
  });

  async function scene(): Promise<Scene & { server: TestServer }> {
    const namespace = freshNamespace();
    const proxy = await startTcpProxy({ host: stack.redis.host, port: stack.redis.port });
    const server = await stack.addServer({ env: { REDIS_URL: `redis://127.0.0.1:${proxy.port}` } });
    const client = await connectClient(server, { namespace, ttl: LONG_TTL_MS });
    const other = await connectClient(stack.server, { namespace, ttl: LONG_TTL_MS });
    return { proxy, server, client, other, states: follow(client) };
  }

  test(`${NAMES_OF_FAULTS}, the server says so in time, and goes on when it is back: no lock and no place is lost`, async () => {
    await eachFault(scene, async (it, [name, break_, heal]) => {
      const readiness = async () => (await httpGet(it.server, '/readyz')).status;
      const { lock, order, all } = await holdAndQueue(it);
      const since = performance.now();
      break_(it.proxy);
      await eventually('the server to notice', async () => (await readiness()) === 503, { timeoutMs: NOTICED_MS });
      console.log(`fault: the network of Redis ${name}: noticed after ${Math.round(performance.now() - since)} ms`);
      await heal(it.proxy);
      await eventually('the server to be ready', async () => (await readiness()) === 200);
      lock.assertHeld();
      await lock.release();
      await all;
      expect(order).toEqual([0, 1, 2]);
      expect(it.states).not.toContain('LOST');
    });
  });

  test('is slow, everything takes longer, and nothing else happens', async () => {
    const it = await scene();
    const { proxy, server, client, states } = it;
    const { lock, order, all } = await holdAndQueue(it);
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
