import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { Status } from 'nice-grpc-common';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { AcquireRequest, type Grant } from '../../../server/src/gen/stafett/v1/lock.js';
import { onCleanup } from '../../support/cleanup.js';
import { startServer, type TestServer } from '../../support/stack.js';
import { acquireRequest } from '../../support/stub-acquire.js';
import { refusal, type StubClient } from '../../support/stub-client.js';
import { connectStub, free, freshNamespace, waiting } from '../../support/stub-stack.js';
import { startTcpProxy } from '../../support/tcp-proxy.js';

// §4.1.8: a waiter whose call is cancelled, times out or loses its connection leaves the queue, and those behind it move up at once.

/** Begins to wait, and resolves to what makes it leave and waits until its caller knows. */
type Waiter = (names: string[]) => Promise<() => Promise<void>>;

let server: TestServer;
let namespace: string;
let client: StubClient;

beforeAll(async () => {
  server = await startServer();
});

beforeEach(() => {
  namespace = freshNamespace();
  client = connectStub(server, namespace);
});

/** Long enough for the test to see it wait, and not much more. */
const SHORT_MS = 400;
const WAIT = { waitMs: 60_000 };

const WAYS: Record<string, Waiter> = {
  'a cancelled call': async (names) => {
    const abort = new AbortController();
    const call = connectStub(server, namespace).acquire(names, WAIT, abort.signal);
    return async () => {
      abort.abort();
      expect(await refusal(call)).toMatchObject({ name: 'AbortError' });
    };
  },
  'a passed gRPC deadline': async (names) => {
    const call = callWithDeadline(names, SHORT_MS);
    return async () => expect(await call).toBe(Status.DEADLINE_EXCEEDED);
  },
  'a passed wait_timeout': async (names) => {
    const call = client.acquire(names, { waitMs: SHORT_MS });
    return async () => expect((await call).contention).toMatchObject({ timedOut: true });
  },
  'a wait_timeout on a pipeline': async (names) => {
    const call = client.pipeline().acquire(names, { waitMs: SHORT_MS });
    return async () => expect((await call).contention).toMatchObject({ timedOut: true });
  },
  'a lost connection': async (names) => {
    const proxy = await startTcpProxy({ port: server.grpcPort });
    const call = connectStub(proxy, namespace).acquire(names, WAIT);
    return async () => {
      proxy.cut();
      expect(await refusal(call)).toMatchObject({ code: Status.UNAVAILABLE });
    };
  },
  'a lost connection with a pipeline, without a session': async (names) => {
    const proxy = await startTcpProxy({ port: server.grpcPort });
    const call = connectStub(proxy, namespace).pipeline().acquire(names, WAIT);
    return async () => {
      proxy.cut();
      expect(await refusal(call)).toMatchObject({ code: Status.UNAVAILABLE });
    };
  },
  CancelAcquire: async (names) => {
    const session = await client.openSession();
    const call = client.acquire(names, { ...WAIT, session, requestId: 'mine' });
    return async () => {
      await connectStub(server, namespace).cancel('mine', session);
      expect(await refusal(call)).toMatchObject({ code: Status.CANCELLED, reason: 'CANCELLED', domain: 'stafett' });
    };
  },
  'a cancel in the pipeline': async (names) => {
    const pipeline = client.pipeline();
    const call = pipeline.acquire(names, { ...WAIT, requestId: 'mine' });
    return async () => {
      await pipeline.cancel('mine');
      expect(await refusal(call)).toMatchObject({ code: Status.CANCELLED, reason: 'CANCELLED' });
    };
  },
  'the end of its session': async (names) => {
    const session = await client.openSession();
    const call = client.acquire(names, { ...WAIT, session });
    return async () => {
      await client.sessions.closeSession({ sessionId: session.id });
      expect(await refusal(call)).toMatchObject({ code: Status.NOT_FOUND, reason: 'SESSION_NOT_FOUND' });
    };
  },
  'its session running out': async (names) => {
    const session = await client.openSilentSession({ ttlMs: 1_000 });
    const call = client.acquire(names, { ...WAIT, session });
    return async () => expect(await refusal(call)).toMatchObject({ code: Status.NOT_FOUND, reason: 'SESSION_NOT_FOUND' });
  },
};

/** The deadline of gRPC itself, which the server is told. */
function callWithDeadline(names: string[], ms: number): Promise<number | undefined> {
  const raw = new Client(server.address, credentials.createInsecure());
  onCleanup(() => raw.close());
  const metadata = new Metadata();
  metadata.set('stafett-namespace', namespace);
  const encode = (request: AcquireRequest) => Buffer.from(AcquireRequest.encode(request).finish());
  const request = AcquireRequest.fromPartial(acquireRequest(names, WAIT));
  return new Promise((resolve) => {
    raw.makeUnaryRequest(
      '/stafett.v1.LockService/Acquire',
      encode,
      (bytes) => bytes,
      request,
      metadata,
      { deadline: Date.now() + ms },
      (error) => resolve(error?.code),
    );
  });
}

/** Grants in the order in which they came, each given back at once. */
function served(names: string[], label: string, order: string[]): Promise<void> {
  return client.lock(names, WAIT).then(async (grant) => {
    order.push(label);
    await client.release(grant);
  });
}

describe.each(Object.entries(WAYS))('%s', (_, waiter) => {
  test('takes a waiter out of the middle of the queue', async () => {
    const hold = await client.lock('name');
    const order: string[] = [];
    const others = [served(['name'], 'first', order)];
    await waiting(client, 'name', 1);
    const leave = await waiter(['name']);
    await waiting(client, 'name', 2);
    others.push(served(['name'], 'third', order));
    await waiting(client, 'name', 3);

    await leave();
    await waiting(client, 'name', 2);
    await client.release(hold);
    await Promise.all(others);
    expect(order).toEqual(['first', 'third']);
    await free(client, 'name');
  });

  test('takes a waiter from the head of the queue, and the one behind it has the free name at once', async () => {
    const hold = await client.lock('held');
    const leave = await waiter(['free', 'held']);
    await waiting(client, 'free', 1);
    const behind = client.lock('free', WAIT);
    await waiting(client, 'free', 2);

    await leave();
    const grant = await behind;
    await waiting(client, 'held', 0);
    await Promise.all([client.release(hold), client.release(grant)]);
    await free(client, 'free');
    await free(client, 'held');
  });

  test('takes out a waiter who is alone, and nobody has the name afterwards', async () => {
    const hold = await client.lock('name');
    const leave = await waiter(['name']);
    await waiting(client, 'name', 1);
    await leave();
    await waiting(client, 'name', 0);
    await client.release(hold);
    expect((await client.getLock('name')).holder).toBeUndefined();
    await client.lock('name');
  });
});

describe('a waiter that leaves at the moment of its grant', () => {
  test('and makes sure by CancelAcquire does not hold the lock, whatever came first', async () => {
    for (let i = 0; i < 30; i++) {
      const name = `name-${i}`;
      const hold = await client.lock(name);
      const abort = new AbortController();
      const call = client.acquire(name, { ...WAIT, requestId: `mine-${i}` }, abort.signal);
      await waiting(client, name, 1);
      const released = client.release(hold);
      if (i % 3 > 0) await (i % 3 === 1 ? Promise.resolve() : new Promise(setImmediate));
      abort.abort();
      await Promise.allSettled([call, released]);
      await client.cancel(`mine-${i}`); // its answer may have been on its way when the call was cancelled
      await free(client, name);
    }
  });

  test('by CancelAcquire: a grant that was made already is released', async () => {
    const grant: Grant = await client.lock('name', { requestId: 'mine' });
    await client.cancel('mine');
    await free(client, 'name');
    expect((await client.getLock('name')).history).toMatchObject([{ fencingToken: grant.fencingToken }]);
  });
});
