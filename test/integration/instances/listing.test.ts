import { createHash } from 'node:crypto';
import { beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { InstanceEvent, Stafett } from '../../../clients/typescript/src/index.js';
import type { ForwardCallRequest, ServeInstanceRequest } from '../../../server/src/gen/stafett/v1/instance.js';
import { connectClient } from '../../support/client.js';
import { eventually } from '../../support/eventually.js';
import { connected, startInstance } from '../../support/instances.js';
import { startStack, type TestServer, type TestStack } from '../../support/stack.js';
import { refusal } from '../../support/stub-client.js';
import { StubOutbox } from '../../support/stub-outbox.js';
import { connectStub, freshNamespace } from '../../support/stub-stack.js';
import { startTcpProxy } from '../../support/tcp-proxy.js';

// A test may start four processes, and the machine of CI has two cores for two files of tests.
vi.setConfig({ testTimeout: 90_000 });

let stack: TestStack;
let server: TestServer;
let namespace: string;

beforeAll(async () => {
  stack = await startStack();
  server = stack.server;
});

beforeEach(() => {
  namespace = freshNamespace();
});

async function ids({ instances }: Stafett, filter = {}): Promise<string[]> {
  const found: string[] = [];
  for await (const { id } of instances.list(filter)) found.push(id);
  return found;
}

/** Collects what a watch tells. */
function watching({ instances }: Stafett, filter = {}): string[] {
  const told: string[] = [];
  const read = async () => {
    for await (const event of instances.watch(filter)) told.push(describeEvent(event));
  };
  read().catch(() => {}); // ends with the client
  return told;
}

function describeEvent(event: InstanceEvent): string {
  if (event.type === 'snapshot-end') return event.type;
  return `${event.type} ${event.instance.id}${event.type === 'present' && !event.instance.connected ? ' not connected' : ''}`;
}

describe('an instance', () => {
  test('is shown with all that it tells, and is gone at once when it leaves', async () => {
    const client = await connectClient(server, { namespace, client: 'tax-return-service', version: '2.1', host: 'node-1' });
    const labels = { zone: 'a', tier: 'b' };
    const served = await client.instances.serve({ labels, address: '10.0.0.1:80', handlers: { stats: () => 1 } });
    expect(served.id).toBe(client.session.id);
    const instance = await client.instances.get(served.id);
    expect(instance).toMatchObject({
      id: served.id,
      service: 'tax-return-service',
      version: '2.1',
      host: 'node-1',
      labels,
      connected: true,
    });
    expect(instance.calls.map(({ name }) => name)).toEqual(['info', 'gc-stats', 'stats']);
    expect(Math.abs(instance.startTime!.getTime() - performance.timeOrigin)).toBeLessThan(2);
    await expect(client.instances.serve({})).rejects.toThrow(TypeError);
    await served.close();
    await expect(client.instances.get(served.id)).rejects.toMatchObject({ reason: 'INSTANCE_NOT_FOUND' });
    await (await client.instances.serve({})).close(); // again is fine
  });

  test('is gone with its client', async () => {
    const [client, other] = [await connectClient(server, { namespace, client: 'a' }), await connectClient(server, { namespace })];
    await client.instances.serve({});
    await client.close();
    expect(await ids(other)).toEqual([]);
  });

  test('is listed by service and labels, in pages', async () => {
    const stub = connectStub(server, namespace);
    const clients = await Promise.all(['a', 'a', 'b'].map((service) => connectClient(server, { namespace, client: service })));
    const serve = (client: Stafett, i: number) => client.instances.serve({ labels: { n: String(i), odd: String(i % 2) } });
    const [first, second, third] = (await Promise.all(clients.map(serve))).map(({ id }) => id);
    const [client] = clients as [Stafett];
    expect((await ids(client)).toSorted()).toEqual([first, second, third].toSorted());
    expect((await ids(client, { service: 'a' })).toSorted()).toEqual([first, second].toSorted());
    expect(await ids(client, { labels: { odd: '1' } })).toEqual([second]);
    expect(await ids(client, { service: 'b', labels: { odd: '1' } })).toEqual([]);
    const { instances } = stub;
    const page = await instances.listInstances({ pageSize: 2 });
    const rest = await instances.listInstances({ pageSize: 2, pageToken: page.nextPageToken });
    expect([...page.instances, ...rest.instances].map(({ instanceId }) => instanceId)).toEqual([first, second, third].toSorted());
    expect(rest.nextPageToken).toBe('');
  });
});

describe('a watch', () => {
  test('tells what is there, what comes, breaks and goes, also through another server', async () => {
    const other = await stack.addServer();
    const client = await connectClient(other, { namespace });
    const first = await startInstance(server, namespace, { service: 'a' });
    const told = watching(client, { service: 'a' });
    await eventually('the snapshot', () => told.includes('snapshot-end'));
    expect(told).toEqual([`present ${first.id}`, 'snapshot-end']);
    const second = await startInstance(server, namespace, { service: 'a', ttl: '1500ms' });
    await startInstance(server, namespace, { service: 'b' });
    await eventually('the second', () => told.length === 3);
    await second.kill('SIGKILL');
    await eventually('its end', () => told.includes(`gone ${second.id}`), { timeoutMs: 4_000 });
    const ended = first.kill('SIGTERM');
    await eventually('the polite end', () => told.includes(`gone ${first.id}`), { timeoutMs: 2_000 });
    await ended;
    expect(told.slice(2)).toEqual([`present ${second.id}`, `present ${second.id} not connected`, `gone ${second.id}`, `gone ${first.id}`]);
  });

  test('goes on at another server, and tells nothing twice', async () => {
    const mortal = await stack.addServer();
    const client = await connectClient([mortal, server], { namespace });
    const stays = await startInstance(server, namespace);
    const told = watching(client);
    await eventually('the snapshot', () => told.includes('snapshot-end'));
    await mortal.kill('SIGKILL');
    const late = await startInstance(server, namespace);
    await eventually('the late one', () => told.includes(`present ${late.id}`));
    expect(told).toEqual([`present ${stays.id}`, 'snapshot-end', `present ${late.id}`]);
  });
});

describe('a connection that breaks', () => {
  test('leaves the instance listed; it is back at once, and the old stream does no harm', async () => {
    const proxy = await startTcpProxy({ port: server.grpcPort });
    const client = await connectClient(proxy, { namespace, client: 'a', ttl: '5s' });
    const other = await connectClient(server, { namespace });
    const { id } = await client.instances.serve({ handlers: { hello: () => 'hello' } });
    const told = watching(other);
    await eventually('the snapshot', () => told.includes('snapshot-end'));
    for (let i = 0; i < 3; i++) {
      proxy.cut();
      await eventually(
        'the call to be answered',
        () =>
          other.instances
            .call(id, 'hello')
            .text()
            .catch(() => false),
        { timeoutMs: 2_000 },
      );
      await connected(other, id);
    }
    expect(told.filter((event) => event.startsWith('gone'))).toEqual([]);
  });
});

describe('Redis', () => {
  test('that forgets everything learns of the instances again', async () => {
    const own = await startStack({ env: { STAFETT_MAX_TTL: '15s' } });
    const client = await connectClient(await own.addServer(), { namespace });
    const instance = await startInstance(own.server, namespace);
    const told = watching(client);
    await eventually('the snapshot', () => told.includes('snapshot-end'));
    await own.redis.client().flushall();
    await eventually('the instance to be known again', () => client.instances.get(instance.id).catch(() => false), { timeoutMs: 8_000 });
    expect(await client.instances.call(instance.id, 'echo', { a: 1 }).json()).toEqual({ a: 1 });
    const late = await startInstance(own.server, namespace);
    await eventually('the watch to go on', () => told.includes(`present ${late.id}`));
    expect(await ids(client)).toEqual([instance.id, late.id].toSorted());
  });
});

describe('bad input', () => {
  const registration = { sessionId: '', service: 's', version: '', host: '', address: '', labels: {}, startTime: undefined, calls: [] };

  test.each([
    ['no registration', { callId: 1n, message: { $case: 'chunk', value: Buffer.alloc(1) } }, { metadata: { field: 'message' } }],
    ['no session', register({}), { reason: 'SESSION_NOT_FOUND' }],
    ['a session that is not there', register({ sessionId: 'nobody' }), { reason: 'SESSION_NOT_FOUND' }],
    ['no service', register({ sessionId: 'a', service: '' }), { metadata: { field: 'register.service' } }],
    ['a long label', register({ sessionId: 'a', labels: { a: 'x'.repeat(300) } }), { metadata: { field: 'register.labels' } }],
    ['a call twice', register({ sessionId: 'a', calls: [call('a'), call('a')] }), { metadata: { field: 'register.calls' } }],
    ['a call with a bad name', register({ sessionId: 'a', calls: [call('a/b')] }), { metadata: { field: 'register.calls.name' } }],
  ])('%s is refused', async (_, first, error) => {
    const outbox = new StubOutbox<ServeInstanceRequest>();
    outbox.push(first as ServeInstanceRequest);
    const stream = connectStub(server, namespace).instances.serveInstance(outbox)[Symbol.asyncIterator]();
    expect(await refusal(stream.next())).toMatchObject(error);
  });

  test('a chunk beyond the credit ends the stream of the instance, and the call', async () => {
    const stub = connectStub(server, namespace);
    const session = await stub.openSession();
    const outbox = new StubOutbox<ServeInstanceRequest>();
    outbox.push(register({ sessionId: session.id, calls: [call('a')] }) as ServeInstanceRequest);
    const stream = stub.instances.serveInstance(outbox)[Symbol.asyncIterator]();
    expect((await stream.next()).value.message.$case).toBe('registered');
    const client = await connectClient(server, { namespace });
    const iterator = client.instances.call(session.id, 'a')[Symbol.asyncIterator]();
    const reading = iterator.next().then(() => new Promise(() => {})); // takes one, and no more
    reading.catch(() => {});
    const { callId } = (await stream.next()).value as { callId: bigint };
    const chunk = { callId, message: { $case: 'chunk' as const, value: Buffer.alloc(65_537) } };
    outbox.push(chunk);
    expect(await refusal(stream.next())).toMatchObject({ reason: 'INVALID_FIELD', metadata: { field: 'chunk' } });
    await expect(reading).rejects.toMatchObject({ reason: 'INSTANCE_LOST' });
  });

  const sha256 = createHash('sha256').update('abc').digest();
  test.each([
    ['another checksum', { totalBytes: 3n, sha256: createHash('sha256').update('abd').digest() }, /SHA-256/],
    ['another length', { totalBytes: 4n, sha256 }, /3 of 4 bytes/],
  ])('an answer that ends with %s is not taken for whole', async (_, end, message) => {
    const stub = connectStub(server, namespace);
    const session = await stub.openSession();
    const outbox = new StubOutbox<ServeInstanceRequest>();
    outbox.push(register({ sessionId: session.id, calls: [call('a')] }) as ServeInstanceRequest);
    const stream = stub.instances.serveInstance(outbox)[Symbol.asyncIterator]();
    await stream.next();
    const client = await connectClient(server, { namespace });
    const reading = client.instances.call(session.id, 'a').text();
    const refused = expect(reading).rejects.toMatchObject({
      code: 'DATA_LOSS',
      reason: 'ANSWER_INCOMPLETE',
      message: expect.stringMatching(message),
    });
    const { callId } = (await stream.next()).value as { callId: bigint };
    outbox.push({ callId, message: { $case: 'chunk', value: Buffer.from('abc') } });
    outbox.push({ callId, message: { $case: 'finished', value: end } });
    await refused;
  });

  test('nobody but a server may pass a call on', async () => {
    const call = { $case: 'call' as const, value: { instanceId: 'a', name: 'a', params: '', timeout: undefined, readOnly: false } };
    const outbox = new StubOutbox<ForwardCallRequest>();
    outbox.push({ message: call });
    const stream = connectStub(server, namespace).instances.forwardCall(outbox)[Symbol.asyncIterator]();
    expect(await refusal(stream.next())).toMatchObject({ reason: 'CALL_NOT_ALLOWED' });
  });

  function register(more: object) {
    return { callId: 0n, message: { $case: 'register', value: { ...registration, ...more } } };
  }

  function call(name: string) {
    return { name, description: '', privileged: false, exclusive: false };
  }
});
