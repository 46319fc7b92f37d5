import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { SessionState, Stafett } from '../../clients/typescript/src/index.js';
import { connectClient, freed, queued } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { startServer, startStack, type TestServer, type TestStack } from '../support/stack.js';
import { connectStub, freshNamespace } from '../support/stub-stack.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';

// §4.1.6: the holder learns of the loss before anybody else can get the lock.

const TTL_MS = 1_500;
const OPTIONS = { ttl: TTL_MS, safetyMargin: 300 };

let stack: TestStack;
let server: TestServer;
let proxy: TcpProxy;
let namespace: string;
let client: Stafett;
let other: Stafett;
let states: SessionState[];

beforeAll(async () => {
  stack = await startStack();
  ({ server } = stack);
});

beforeEach(async () => {
  namespace = freshNamespace();
  proxy = await startTcpProxy({ port: server.grpcPort });
  client = await connectClient(proxy, { namespace, ...OPTIONS });
  other = await connectClient(server, { namespace });
  states = [];
  client.session.onStateChange((state) => states.push(state));
});

/** Nothing else runs meanwhile, as in a long garbage collection. */
function stall(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

describe('without news from the server', () => {
  test('the signal is aborted before anybody else can have the lock; without any network', async () => {
    const lock = await client.locks.acquire('a');
    const { signal } = lock;
    const abortedAt = new Promise<number>((resolve) => signal.addEventListener('abort', () => resolve(performance.now())));
    const next = other.locks.acquire('a').then(async (taken) => {
      const at = performance.now();
      await taken.release();
      return at;
    });
    await queued(other, 'a', 1);
    const { id } = client.session;
    proxy.pause();
    proxy.refuse();
    expect(await abortedAt).toBeLessThan(await next);
    expect(signal.reason).toMatchObject({ reason: 'LOCK_LOST', cause: { reason: 'SESSION_LOST' } });
    expect(lock.isHeld).toBe(false);
    await expect(lock.release()).rejects.toMatchObject({ reason: 'LOCK_LOST' });
    expect(states).toEqual(['SUSPENDED', 'LOST']);
    expect(client.session.state).toBe('LOST');
    expect(client.session.remainingMs()).toBe(0);

    proxy.cut();
    proxy.resume();
    await proxy.accept();
    await eventually('a new session', () => client.session.state === 'CONNECTED');
    expect(client.session.id).not.toBe(id);
    expect(states).toEqual(['SUSPENDED', 'LOST', 'CONNECTED']);
    expect(lock.isHeld).toBe(false);
    await client.locks.run('a', (again) => expect(again.fencingToken).toBeGreaterThan(lock.fencingToken));
  });

  test('run says LOCK_LOST when its work goes on regardless', async () => {
    const run = client.locks.run('a', async (lock) => {
      proxy.pause();
      await eventually('the loss', () => !lock.isHeld);
      return 'untrusted';
    });
    await expect(run).rejects.toMatchObject({ reason: 'LOCK_LOST', value: 'untrusted' });
  });

  test('run resolves at once when its work ends in time, though the release cannot be told', async () => {
    const result = await client.locks.run('a', async (lock) => {
      proxy.cut();
      proxy.refuse();
      await eventually('the connection to be missed', () => client.session.state === 'SUSPENDED');
      lock.assertHeld();
      return 'trusted';
    });
    expect(result).toBe('trusted');
    expect(states).toEqual(['SUSPENDED']);
    await proxy.accept();
    await freed(other, 'a');
    expect((await other.locks.get('a')).history[0]?.endReason).toBe('RELEASED');
  });

  test('a keepalive that reached the server counts only once its answer is there', async () => {
    const lock = await client.locks.acquire('a');
    proxy.pause('down');
    await eventually('the loss', () => lock.signal.aborted);
    // What counts as lost here lives on there, with each keepalive that arrives; it is ended when the client is back.
    expect((await other.locks.get('a')).holder?.sessionId).toBe(client.session.id);
    const { id } = client.session;
    proxy.cut();
    proxy.resume();
    await eventually('a new session', () => client.session.id !== id);
    await freed(other, 'a');
    expect((await other.locks.get('a')).history[0]?.endReason).toBe('SESSION_CLOSED');
  });

  test('a server that stands still: the same', async () => {
    const frozen = await startServer({ redis: stack.redis });
    const over = await connectClient(frozen, { namespace, ...OPTIONS });
    const lock = await over.locks.acquire('b');
    const { signal } = lock;
    frozen.pause();
    const taken = await other.locks.acquire('b');
    expect(signal.aborted).toBe(true);
    await taken.release();
    frozen.resume();
    await eventually('a new session', () => over.session.state === 'CONNECTED');
  });

  test('a short silence costs nothing', async () => {
    const lock = await client.locks.acquire('a');
    const { id } = client.session;
    proxy.cut();
    await eventually('the connection to be missed', () => states.includes('SUSPENDED'));
    await eventually('another connection', () => client.session.state === 'CONNECTED');
    lock.assertHeld();
    expect(client.session.id).toBe(id);
    await lock.release();
    expect(states).toEqual(['SUSPENDED', 'CONNECTED']);
  });
});

describe('a stalled event loop', () => {
  test('cannot hide that the deadline has passed', async () => {
    const lock = await client.locks.acquire('a');
    const { signal } = lock;
    stall(TTL_MS);
    // In the very same tick: no timer has run, nothing was read.
    expect(signal.aborted).toBe(true);
    expect(() => signal.throwIfAborted()).toThrow(expect.objectContaining({ reason: 'LOCK_LOST' }));
    expect(() => lock.assertHeld()).toThrow(expect.objectContaining({ reason: 'LOCK_LOST' }));
    expect(client.session.state).toBe('LOST');
  });

  test('at the end of the work is noticed by run', async () => {
    const run = client.locks.run('a', () => {
      stall(TTL_MS);
      return 'untrusted';
    });
    await expect(run).rejects.toMatchObject({ reason: 'LOCK_LOST', value: 'untrusted' });
  });

  test('that recovers in time costs nothing', async () => {
    const lock = await client.locks.acquire('a');
    stall(TTL_MS / 2);
    await eventually('a confirmation', () => client.session.remainingMs() > TTL_MS / 2);
    lock.assertHeld();
    expect(states).toEqual([]);
  });
});

describe('a lost session', () => {
  test('those who wait ask again in the next one; nested ones, whose outer locks are lost, fail', async () => {
    const blocker = await other.locks.acquire('b');
    const waits = client.locks.run('b', () => 'done');
    const nested = client.locks.run('a', () => client.locks.run('b', () => 'never'));
    const refused = expect(nested).rejects.toMatchObject({ reason: 'LOCK_LOST', cause: { reason: 'SESSION_LOST' } });
    await queued(other, 'b', 2);
    const { id } = client.session;
    proxy.pause();
    await refused;
    proxy.cut();
    proxy.resume();
    await eventually('a new session', () => client.session.id !== id && client.session.state === 'CONNECTED');
    await queued(other, 'b', 1);
    await blocker.release();
    expect(await waits).toBe('done');
  });

  test('that the servers forgot is lost at once', async () => {
    const lock = await client.locks.acquire('a');
    const { id, signal } = client.session;
    await connectStub(server, namespace).sessions.closeSession({ sessionId: id });
    await eventually('the loss', () => lock.signal.aborted);
    expect(signal.reason).toMatchObject({ reason: 'SESSION_LOST' });
    await eventually('a new session', () => client.session.id !== id && client.session.state === 'CONNECTED');
    expect(client.session.signal.aborted).toBe(false);
    await client.locks.run('a', () => {});
  });

  test('an acquire finds out first, and goes on in the next', async () => {
    const { id } = client.session;
    await connectStub(server, namespace).sessions.closeSession({ sessionId: id });
    await client.locks.run('a', (lock) => lock.assertHeld());
    expect(client.session.id).not.toBe(id);
    expect(states).toEqual(['LOST', 'CONNECTED']);
  });
});

describe('listeners', () => {
  test('hear each change, until they stop', async () => {
    const seen: SessionState[] = [];
    const stop = client.session.onStateChange((state) => seen.push(state));
    proxy.cut();
    await eventually('both changes', () => seen.length === 2);
    stop();
    proxy.cut();
    await eventually('two more', () => states.length === 4);
    expect(seen).toEqual(['SUSPENDED', 'CONNECTED']);
  });
});
