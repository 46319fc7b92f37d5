import { beforeEach, describe, expect, test } from 'vitest';
import type { Lock, Stafett } from '../../clients/typescript/src/index.js';
import { backAgain } from '../support/back-again.js';
import { connectClient, queued } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { startServer, startStack, type TestServer, type TestStack } from '../support/stack.js';
import { refusal, type StubClient } from '../support/stub-client.js';
import { connectStub, freshNamespace } from '../support/stub-stack.js';
import { startTcpProxy } from '../support/tcp-proxy.js';

// Issue 3.3, §4.5: Redis loses all or some of its memory. What is held stays held, who waits keeps its place, nothing new is granted
// before all had the time to say what they hold, and tokens never go back.

const MAX_TTL_MS = 3_000;
const ENV = { STAFETT_MAX_TTL: '3s' };
/** Promised: what lives is back within 2 s of Redis being back. */
const BACK_MS = 2_000;
/** From the end of the grace period until new acquires go on, on a busy machine. */
const PROGRESS_MS = 1_000;

let stack: TestStack;
let namespace: string;

async function client(servers: TestServer | TestServer[] = stack.server): Promise<Stafett> {
  return connectClient(servers, { namespace, ttl: '3s' });
}

/** Acquires that note the order in which they are served, each for a moment. */
function waiters(who: Stafett[], name: string, count: number) {
  const served: number[] = [];
  const all = Array.from({ length: count }, async (_, i) => {
    await (who[i % who.length] as Stafett).locks.run(name, () => void served.push(i));
  });
  return { served, all: Promise.all(all) };
}

async function queueUp(who: Stafett[], name: string, count: number) {
  const queue = { served: [] as number[], all: [] as Promise<void>[] };
  for (let i = 0; i < count; i++) {
    const { locks } = who[i % who.length] as Stafett;
    queue.all.push(locks.run(name, () => void queue.served.push(i)));
    await queued(who[0] as Stafett, name, i + 1);
  }
  return queue;
}

const CASES: [string, (redis: TestRedis) => Promise<unknown>][] = [
  ['is killed and starts empty', (redis) => redis.kill().then(() => redis.start())],
  ['is flushed', (redis) => redis.client().flushall()],
];

describe.each(CASES)('when Redis %s', (_, lose) => {
  beforeEach(async () => {
    stack = await startStack({ env: ENV });
    namespace = freshNamespace();
  });

  test('what is held stays held, waiters keep their order, new ones wait for the end of the grace period', async () => {
    const second = await stack.addServer();
    const [one, two] = [await client(), await client(second)];
    const lock = await one.locks.acquire(['a', 'b'], { purpose: 'testing' });
    const other = await two.locks.acquire('c');
    const queue = await queueUp([one, two], 'a', 6);
    const lostAt = performance.now();
    await lose(stack.redis);
    expect(await backAgain(two, lock, 'b')).toBeLessThan(BACK_MS);
    expect((await one.locks.get('b')).holder?.purpose).toBe('testing');
    await backAgain(one, other, 'c');
    const fresh = two.locks.acquire('new').then((granted) => ({ granted, ms: performance.now() - lostAt }));
    await expect(one.locks.tryAcquire('free')).rejects.toMatchObject({ reason: 'GRACE_PERIOD' });
    expect(await one.locks.tryAcquire('b')).toMatchObject({ acquired: false });
    lock.assertHeld();
    await lock.release(); // within the grace period
    await Promise.all(queue.all);
    expect(queue.served).toEqual([0, 1, 2, 3, 4, 5]);
    const { granted, ms } = await fresh;
    expect(ms).toBeGreaterThan(MAX_TTL_MS - 100);
    expect(ms).toBeLessThan(BACK_MS + MAX_TTL_MS + PROGRESS_MS);
    expect(granted.fencingToken).toBeGreaterThan(lock.fencingToken);
    other.assertHeld();
    await Promise.all([other.release(), granted.release()]);
    expect([one.session.state, two.session.state]).toEqual(['CONNECTED', 'CONNECTED']);
  });

  test('many locks and nested waiters come back', async () => {
    const one = await client();
    const locks = await Promise.all(Array.from({ length: 2_500 }, (_, i) => one.locks.acquire(`many/${i}`)));
    const holder = await one.locks.acquire('inner');
    const order: string[] = [];
    const nested = one.locks.run('outer', () => one.locks.run('inner', () => void order.push('nested')));
    await queued(one, 'inner', 1);
    const plain = one.locks.run('inner', () => void order.push('plain'));
    await queued(one, 'inner', 2);
    await lose(stack.redis);
    for (const lock of [locks[0], locks[1_700], locks[2_499]] as Lock[]) await backAgain(one, lock, lock.names[0] as string);
    await holder.release();
    await Promise.all([nested, plain]);
    expect(order).toEqual(['nested', 'plain']);
    for (const lock of locks) lock.assertHeld();
    await Promise.all(locks.map((lock) => lock.release()));
  });

  test('a client that does not come back loses what it had, and nobody gets it before its deadline', async () => {
    const [one, gone] = [await client(), connectStub(stack.server, namespace)];
    const session = await gone.openSilentSession({ ttlMs: MAX_TTL_MS });
    await gone.lock('a', { session });
    const heldUntil = performance.now() + MAX_TTL_MS;
    await lose(stack.redis);
    const lock = await one.locks.acquire('a');
    expect(performance.now()).toBeGreaterThan(heldUntil);
    await lock.release();
  });

  test('again, and again in the grace period', async () => {
    const one = await client();
    const lock = await one.locks.acquire('a');
    const { all } = waiters([one], 'a', 3);
    for (let i = 0; i < 3; i++) {
      await lose(stack.redis);
      await backAgain(one, lock, 'a');
    }
    lock.assertHeld();
    await lock.release();
    await all;
  });

  test('and the client is connected to a server that dies with it', async () => {
    const second = await stack.addServer();
    const one = await client([stack.server, second]);
    const [lock, watcher] = [await one.locks.acquire('a'), await client(second)];
    await stack.server.kill();
    await lose(stack.redis);
    expect(await backAgain(watcher, lock, 'a')).toBeLessThan(BACK_MS);
    lock.assertHeld();
    await lock.release();
  });
});

describe('the embedded Redis dies', () => {
  test('the server starts it again, and nothing is lost', async () => {
    const server = await startServer({ env: { ...ENV, STAFETT_LOG_LEVEL: 'debug' } });
    namespace = freshNamespace();
    const one = await client(server);
    const lock = await one.locks.acquire('a');
    const queue = await queueUp([one], 'a', 3);
    const pids = () => server.logs().flatMap(({ redisPid }) => (redisPid === undefined ? [] : [Number(redisPid)]));
    const [pid] = pids() as [number];
    process.kill(pid, 'SIGKILL');
    await eventually('another Redis', () => pids().at(-1) !== pid);
    expect(await backAgain(one, lock, 'a')).toBeLessThan(BACK_MS);
    lock.assertHeld();
    await lock.release();
    await Promise.all(queue.all);
    expect(queue.served).toEqual([0, 1, 2]);
  });
});

describe('a flush while nobody asks anything', () => {
  test('is noticed within the bound all the same', async () => {
    const redis = await startRedis();
    const server = await startServer({ redis });
    namespace = freshNamespace();
    const one = await connectClient(server, { namespace, ttl: '30s' }); // a keepalive each 10 s
    const lock = await one.locks.acquire('a');
    const asked = async () => /^cmdstat_get:calls=[2-9]/m.test(await redis.client().info('commandstats'));
    await eventually('the server to have looked for the witness', asked);
    await redis.client().flushall();
    await eventually('the server to notice', () => server.logs().some(({ msg }) => msg.includes('a new epoch begins')), {
      timeoutMs: BACK_MS,
    });
    await backAgain(one, lock, 'a');
  });
});

describe('a server that knew nothing before', () => {
  test('gives a lost namespace its grace period, also when another one has begun its own', async () => {
    const redis = await startRedis();
    const env = { STAFETT_REDIS_IS_NEW: 'false' };
    const before = await startServer({ redis, env: { ...ENV, ...env } });
    namespace = freshNamespace();
    await connectStub(before, namespace).lock('a', { ttlMs: 1_000, waitMs: 20_000 }); // a Redis that is younger than the TTL has a grace period
    await before.kill();
    await redis.kill();
    await redis.start();
    const fresh = await startServer({ redis, env }); // with a grace period that is longer than a busy machine takes
    await connectStub(fresh, freshNamespace()).getLock('x'); // its epoch begins, and is witnessed
    const refused = await refusal(connectStub(fresh, namespace).acquire('a', { ttlMs: 1_000 }));
    expect(refused).toMatchObject({ reason: 'GRACE_PERIOD' });
  });
});

describe('a namespace that is used first in the grace period of another', () => {
  test('has what is left of it, and not a second more', async () => {
    const redis = await startRedis();
    const server = await startServer({ redis, env: { ...ENV, STAFETT_REDIS_IS_NEW: 'false' } });
    await connectStub(server, freshNamespace()).getLock('x'); // Redis is young: the first namespace has a grace period
    const graceUntil = Number((await redis.client().get('stafett:witness'))?.split(' ')[1]);
    for (let i = 0; i < 5; i++) {
      namespace = freshNamespace();
      await connectStub(server, namespace).getLock('x');
      const [until, seconds] = [await redis.client().hget(`stafett:{${namespace}}:gate`, 'grace'), (await redis.client().time())[0]];
      if (Number(seconds) * 1000 >= graceUntil) break; // a busy machine
      expect(Number(until)).toBe(graceUntil);
    }
  });
});

/** Says that a session holds the names. @returns the ids of what it does not get. */
async function claim({ sessions }: StubClient, sessionId: string, names: string[]): Promise<string[]> {
  const grants = [{ lockId: `${sessionId}.x`, names, fencingToken: 1n, acquireTime: undefined, owner: undefined, purpose: '' }];
  const request = { sessionId, ttl: undefined, client: undefined, grants, highestFencingToken: 0n, more: false };
  return (await sessions.assertSession(request)).lostLockIds;
}

describe('two claims of one name', () => {
  test('the later is refused, and its client told', async () => {
    stack = await startStack({ env: ENV });
    namespace = freshNamespace();
    const [one, liar] = [await client(), connectStub(stack.server, namespace)];
    const lock = await one.locks.acquire('a');
    const session = await liar.openSilentSession({ ttlMs: MAX_TTL_MS });
    await stack.redis.client().flushall();
    await backAgain(one, lock, 'a');
    expect(await claim(liar, session.id, ['b', 'a'])).toEqual([`${session.id}.x`]);
    expect((await one.locks.get('b')).holder).toBeUndefined();
    lock.assertHeld();
  });

  test('a client that comes too late is told that it lost that lock, and keeps the others', async () => {
    stack = await startStack({ env: ENV });
    namespace = freshNamespace();
    const toServer = await startTcpProxy({ port: stack.server.grpcPort });
    const late = await connectClient(toServer, { namespace, ttl: MAX_TTL_MS });
    const liar = connectStub(stack.server, namespace);
    const [disputed, own] = [await late.locks.acquire('a'), await late.locks.acquire('b')];
    const session = await liar.openSilentSession({ ttlMs: MAX_TTL_MS });
    toServer.pause('down'); // what it is to do does not reach it
    await stack.redis.client().flushall();
    const known = () => stack.server.logs().some(({ msg }) => msg.includes('a new epoch begins'));
    await eventually('the new epoch', known, { timeoutMs: BACK_MS });
    await claim(liar, session.id, ['a']);
    toServer.resume('down');
    await eventually('the late one to be told', () => disputed.signal.aborted, { timeoutMs: BACK_MS });
    expect(() => disputed.assertHeld()).toThrow(expect.objectContaining({ reason: 'LOCK_LOST' }));
    expect((await late.locks.get('a')).holder?.fencingToken).toBe(1n);
    await backAgain(late, own, 'b');
    own.assertHeld();
    expect(late.session.state).toBe('CONNECTED');
  });
});
