import type { Redis } from 'ioredis';
import { Metadata, Status } from 'nice-grpc-common';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { AcquireRequest } from '../../../server/src/gen/stafett/v1/lock.js';
import { onCleanup } from '../../support/cleanup.js';
import { eventually } from '../../support/eventually.js';
import { RawClient } from '../../support/raw-client.js';
import { startStack, type TestServer } from '../../support/stack.js';
import { acquireRequest } from '../../support/stub-acquire.js';
import { refusal, type StubClient } from '../../support/stub-client.js';
import type { StubError } from '../../support/stub-error.js';
import { StubKeepAlives } from '../../support/stub-session.js';
import { connectStub } from '../../support/stub-stack.js';
import { startTcpProxy } from '../../support/tcp-proxy.js';
import {
  BAD_COMMANDS,
  BAD_DURATIONS,
  BAD_NAMES,
  BAD_TTLS,
  type Command,
  invalid,
  MAX_TTL_S,
  type Refusal,
  type World,
} from './bad-requests.js';

// Issue, Proof: bad input is refused with ErrorInfo, changes nothing, and the server lives on.

const ACQUIRE = '/stafett.v1.LockService/Acquire';
const PIPELINE = '/stafett.v1.LockService/Pipeline';
const U64_MAX = 2n ** 64n - 1n;

let server: TestServer;
let redis: Redis;
let client: StubClient;
let world: World;
let before: string[];

beforeAll(async () => {
  const stack = await startStack({ env: { STAFETT_MAX_TTL: `${MAX_TTL_S}s` } });
  server = stack.server;
  redis = stack.redis.client();
  client = connectStub(server);
  world = await createWorld();
});

beforeEach(async () => {
  before = await dump();
  expect(before.length).toBeGreaterThan(8);
});

afterAll(async () => {
  expect(await server.stop()).toEqual({ code: 0, signal: null });
  expect(server.logs().filter(({ level }) => (level as number) >= 50)).toEqual([]);
});

async function createWorld(): Promise<World> {
  const ttlMs = MAX_TTL_S * 1000; // they live as long as the test
  const [session, foreign, closed] = await Promise.all([1, 2, 3].map(() => client.openSilentSession({ ttlMs })));
  if (!session || !foreign || !closed) throw new Error();
  const closedLock = await client.lock('closed-lock', { session: closed });
  await client.sessions.closeSession({ sessionId: closed.id });
  return {
    session: session.id,
    sessionLock: (await client.lock('session-lock', { session })).lockId,
    lease: (await client.lock('lease-lock', { ttlMs })).lockId,
    closedSession: closed.id,
    closedLock: closedLock.lockId,
    foreignLock: (await client.lock('foreign-lock', { session: foreign })).lockId,
  };
}

/** What the namespace counts, see engine/scripts/state.lua; but for the last token. */
async function counted(gate: string): Promise<string> {
  return (await redis.hgetBuffer(gate, 's'))?.toString('hex', 8) ?? '';
}

/** Everything that Redis holds, to the byte; but not the last token, which follows the clock each time that the server sweeps. */
async function dump(): Promise<string[]> {
  const keys = (await redis.keys('*')).sort();
  const show = async (key: string) => {
    if (key.endsWith(':gate')) return [await redis.hmget(key, 'id', 'run', 'grace'), await counted(key)];
    return (await redis.dumpBuffer(key)).toString('hex');
  };
  return Promise.all(keys.map(async (key) => `${key}: ${await show(key)}`));
}

async function expectRefused(call: Promise<unknown>, expected: Refusal): Promise<StubError> {
  const error = await refusal(call);
  expect(error).toMatchObject({ ...expected, domain: 'stafett' });
  expect(error.message).not.toBe('');
  expect(await dump()).toEqual(before);
  return error;
}

function unary(command: Command): Promise<unknown> {
  const { locks } = client;
  if (command.$case === 'acquire') return locks.acquire(command.value ?? {});
  if (command.$case === 'release') return locks.release(command.value ?? {});
  if (command.$case === 'extend') return locks.extend(command.value ?? {});
  return locks.cancelAcquire(command.value ?? {});
}

describe('a command that is wrong', () => {
  test.each(BAD_COMMANDS)('%s', async (_, command, expected) => {
    const inUnary = await expectRefused(unary(command(world)), expected);
    const pipeline = client.pipeline();
    const [inPipeline] = await Promise.all([
      expectRefused(pipeline.command(command(world)), expected),
      pipeline.cancel('nothing'), // the others of the message are carried out
    ]);
    expect({ ...inPipeline }).toEqual({ ...inUnary });
    pipeline.end();
    expect(await pipeline.ended).toBeUndefined();
  });
});

describe('names and durations of the other calls', () => {
  test.each(BAD_NAMES.filter(([, names]) => names.length === 1))('GetLock and ForceRelease: %s', async (_, [name = '']) => {
    await expectRefused(client.getLock(name), invalid('name'));
    await expectRefused(client.forceRelease(name), invalid('name'));
  });

  test.each(BAD_NAMES)('WaitForUnlock: %s', async (_, names) => {
    await expectRefused(client.watch(names).ready, invalid('names'));
  });

  test.each(BAD_DURATIONS)('WaitForUnlock: a timeout that is %s', async (_, timeout) => {
    const drain = async () => {
      for await (const each of client.locks.waitForUnlock({ names: ['session-lock'], timeout })) void each;
    };
    await expectRefused(drain(), invalid('timeout'));
  });

  test.each(BAD_TTLS)('OpenSession: a ttl that is %s', async (_, ttl) => {
    await expectRefused(client.sessions.openSession({ ttl }), invalid('ttl'));
  });

  test.each(['name', 'version', 'host'])('OpenSession: a client.%s of 258 bytes', async (key) => {
    await expectRefused(client.sessions.openSession({ client: { [key]: 'ä'.repeat(129) } }), invalid(`client.${key}`));
  });
});

describe('lists', () => {
  test.each([-1, -2_147_483_648])('a page_size of %i', async (pageSize) => {
    await expectRefused(client.locks.listLocks({ pageSize }), invalid('page_size'));
    await expectRefused(client.sessions.listSessions({ pageSize }), invalid('page_size'));
  });

  test.each(['!!!', 'YQ==', 'a b', '_w', 'YQ\n', `${'x'.repeat(10_000)}!`])('the page_token %j', async (pageToken) => {
    await expectRefused(client.locks.listLocks({ pageToken }), invalid('page_token'));
    await expectRefused(client.sessions.listSessions({ pageToken }), invalid('page_token'));
  });

  test('a prefix of 257 bytes', async () => {
    await expectRefused(client.locks.listLocks({ prefix: 'x'.repeat(257) }), invalid('prefix'));
  });
});

test('a fencing_token that nobody has', async () => {
  for (const token of [1n, U64_MAX]) {
    await expectRefused(client.forceRelease('session-lock', token), { code: Status.FAILED_PRECONDITION, reason: 'LOCK_NOT_HELD' });
  }
});

describe('sessions that are none', () => {
  test.each(['', 'no id!', 'unknown', 'x'.repeat(1_000)])('GetSession: %j', async (sessionId) => {
    await expectRefused(client.sessions.getSession({ sessionId }), { code: Status.NOT_FOUND, reason: 'SESSION_NOT_FOUND' });
  });

  test.each([
    ['the sequence 0', 'sequence', { sequence: 0n, sessionIds: [] }],
    ['1,001 sessions', 'session_ids', { sequence: 1n, sessionIds: Array<string>(1_001).fill('x') }],
  ])('KeepAlive: %s', async (_, field, request) => {
    const requests = (async function* () {
      yield request;
      await new Promise(() => {}); // the server ends it, not we
    })();
    const read = async () => {
      for await (const each of client.sessions.keepAlive(requests)) void each;
    };
    await expectRefused(read(), invalid(field));
  });
});

describe('the metadata stafett-namespace', () => {
  test.each([[['a b']], [['']], [['{a}']], [['x'.repeat(65)]], [['a/b']], [['a', 'b']]])('%j', async (values) => {
    const metadata = new Metadata();
    for (const value of values) metadata.append('stafett-namespace', value);
    const expected = { code: Status.INVALID_ARGUMENT, reason: 'INVALID_NAMESPACE' };
    await expectRefused(client.locks.acquire(acquireRequest('name'), { metadata }), expected);
    await expectRefused(client.sessions.openSession({}, { metadata }), expected);
  });
});

describe('a pipeline', () => {
  test('with a command of id 0, or of no kind, refuses that one and goes on', async () => {
    const pipeline = client.pipeline();
    await expectRefused(pipeline.command({ $case: 'cancel', value: { requestId: 'a' } }, 0n), invalid('id'));
    await expectRefused(pipeline.command(undefined), invalid('command'));
    await pipeline.cancel('nothing');
  });

  test('with 1,001 commands in a message is ended', async () => {
    const pipeline = client.pipeline();
    const command = { $case: 'cancel' as const, value: { requestId: 'a' } };
    pipeline.sendRaw({ commands: Array.from({ length: 1_001 }, (_, i) => ({ id: BigInt(i + 1), command })) });
    expect(await pipeline.ended).toMatchObject({ code: Status.INVALID_ARGUMENT, reason: 'INVALID_FIELD', metadata: { field: 'commands' } });
  });

  test('with an empty message goes on', async () => {
    const pipeline = client.pipeline();
    pipeline.sendRaw({ commands: [] });
    await pipeline.cancel('nothing');
  });
});

describe('bytes that are no request', () => {
  const request = (...bytes: number[]) => Buffer.from([...bytes, 0x1a, 0x02, 0x08, 0x0a]); // and a ttl of 10 s
  const BYTES: [string, Buffer][] = [
    ['a name that is no UTF-8', request(0x0a, 0x02, 0xff, 0xfe)],
    ['half a surrogate pair in UTF-8', request(0x0a, 0x03, 0xed, 0xa0, 0x80)],
    ['an overlong encoding', request(0x0a, 0x02, 0xc0, 0x80)],
    ['a field that is cut off', Buffer.from([0x0a, 0x20, 0x61])],
    ['a varint without an end', Buffer.alloc(20, 0xff)],
    ['a group that is not closed', request(0x0b)],
    ['a zero byte behind the request', request(0x0a, 0x01, 0x61, 0x00)],
  ];

  test.each(BYTES)('%s', async (_, bytes) => {
    const raw = rawClient();
    const expected = { code: Status.INVALID_ARGUMENT, info: { reason: 'INVALID_FIELD', domain: 'stafett' } };
    expect(await raw.unary(ACQUIRE, bytes)).toMatchObject(expected);
    const command = Buffer.concat([Buffer.from([0x08, 0x01, 0x12, bytes.length]), bytes]);
    const message = Buffer.concat([Buffer.from([0x0a, command.length]), command]);
    expect(await raw.bidi(PIPELINE, [message], { close: false })).toMatchObject({ ...expected, responses: [] });
    expect(await dump()).toEqual(before);
  });

  test('a message over the size limit', async () => {
    const names = Array.from({ length: 5 }, () => 'x'.repeat(1_000_000));
    const bytes = AcquireRequest.encode(AcquireRequest.fromPartial({ names })).finish();
    const raw = rawClient();
    expect(await raw.unary(ACQUIRE, bytes)).toMatchObject({ code: Status.RESOURCE_EXHAUSTED });
    expect(await raw.bidi(PIPELINE, [bytes], { close: false })).toMatchObject({ code: Status.RESOURCE_EXHAUSTED });
    expect(await dump()).toEqual(before);
  });

  function rawClient(): RawClient {
    const raw = new RawClient(server.grpcPort);
    onCleanup(() => raw.close());
    return raw;
  }
});

test('streams that send nothing do no harm, and leave nothing when their connection breaks', async () => {
  const others = await underWay(); // calls of earlier tests that are still open
  const proxy = await startTcpProxy({ port: server.grpcPort });
  const silent = connectStub(proxy);
  const streams = [];
  for (let i = 0; i < 100; i++) streams.push(silent.pipeline().ended, new StubKeepAlives(silent).ended, silent.watch('session-lock').ended);
  await eventually('all of them to be there', async () => (await underWay()) >= others + 300);
  await client.getLock('session-lock');
  proxy.cut();
  await Promise.all(streams);
  await eventually('none of them to be left', async () => (await underWay()) <= others);
});

/** Calls that have begun and not ended. */
async function underWay(): Promise<number> {
  const metrics = await (await fetch(`http://${server.httpAddress}/metrics`)).text();
  const sum = (name: string) =>
    [...metrics.matchAll(new RegExp(`^${name}\\{.*\\} (\\d+)$`, 'gm'))].reduce((total, [, n]) => total + Number(n), 0);
  return sum('grpc_server_started_total') - sum('grpc_server_handled_total');
}
