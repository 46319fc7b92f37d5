import { ServerError, Status } from 'nice-grpc-common';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ErrorReason } from '../../server/src/gen/stafett/v1/error.js';
import { type AcquireRequest, AcquireRequest as AcquireRequestCodec, LockServiceDefinition } from '../../server/src/gen/stafett/v1/lock.js';
import { Stopping } from '../../server/src/rpc/draining.js';
import { toRichError } from '../../server/src/rpc/error-mapping.js';
import { redisUnavailable, StafettError } from '../../server/src/rpc/errors.js';
import { RpcServer, service } from '../../server/src/rpc/server.js';
import { RawClient } from '../support/raw-client.js';

const ACQUIRE = '/stafett.v1.LockService/Acquire';
const PIPELINE = '/stafett.v1.LockService/Pipeline';
const WATCH = '/stafett.v1.LockService/WaitForUnlock';
const HEALTH = '/grpc.health.v1.Health';

/** A server with the real middleware, in front of a service that does what the test says. */
let server: RpcServer;
let client: RawClient;
let stopping: Stopping;
let registry: Registry;
let log: Record<string, unknown>[];
let onAcquire: (request: AcquireRequest, namespace: string) => void;

beforeEach(async () => {
  stopping = new Stopping();
  registry = new Registry();
  log = [];
  onAcquire = () => {};
  const logger = pino({ level: 'debug' }, { write: (line: string) => void log.push(JSON.parse(line)) });
  const implementation = {
    async acquire(request: AcquireRequest, { namespace }: { namespace: string }) {
      onAcquire(request, namespace);
      return {};
    },
    async *pipeline(requests: AsyncIterable<unknown>) {
      for await (const _ of requests) yield { results: [], granted: [], released: [] };
    },
    async *waitForUnlock(_: unknown, { signal }: { signal: AbortSignal }) {
      yield { results: [], granted: [], released: [] };
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
    },
  };
  const methods = Object.keys(LockServiceDefinition.methods).map((name) => [name, async () => ({})]);
  const complete = { ...Object.fromEntries(methods), ...implementation };
  server = new RpcServer({ logger, registry, maxMessageBytes: 100_000, stopping }, [service(LockServiceDefinition, complete)]);
  client = new RawClient(await server.listen({ host: '127.0.0.1', port: 0 }));
});

afterEach(() => {
  client.close();
  server.forceShutdown();
});

describe('a refusal', () => {
  it('reaches a plain client as status, ErrorInfo and RetryInfo', async () => {
    onAcquire = () => {
      throw new StafettError(
        Status.FAILED_PRECONDITION,
        ErrorReason.LOCK_NOT_HELD,
        'not held: blåbær 🫐 100%',
        { holder_host: 'node-ø' },
        1_250,
      );
    };
    const answer = await client.unary(ACQUIRE, Buffer.of());
    expect(answer).toMatchObject({ code: Status.FAILED_PRECONDITION, message: 'not held: blåbær 🫐 100%', retryDelayMs: 1_250 });
    expect(answer.info).toMatchObject({ reason: 'LOCK_NOT_HELD', domain: 'stafett', metadata: { holder_host: 'node-ø' } });
  });

  it('has no RetryInfo when a retry does not help', async () => {
    onAcquire = () => {
      throw new StafettError(Status.NOT_FOUND, ErrorReason.SESSION_NOT_FOUND, 'gone');
    };
    expect(await client.unary(ACQUIRE, Buffer.of())).not.toHaveProperty('retryDelayMs');
  });

  it('never tells its cause', async () => {
    onAcquire = () => {
      const error = redisUnavailable();
      error.cause = new Error('connect ECONNREFUSED secret-host');
      throw error;
    };
    const answer = await client.unary(ACQUIRE, Buffer.of());
    expect(answer.info?.reason).toBe('REDIS_UNAVAILABLE');
    expect(JSON.stringify(answer)).not.toContain('secret-host');
  });

  it('fits into the headers of any client, however much there is to say', async () => {
    const long = '🫐'.repeat(20_000);
    const rich = toRichError(new StafettError(Status.ABORTED, ErrorReason.DEADLOCK, long, { cycle: long, more: long }));
    expect(rich.details.length).toBeLessThanOrEqual(512);
    expect(encodeURIComponent(rich.details).length).toBeLessThan(8_192); // throws on half a character
    onAcquire = () => {
      throw new StafettError(Status.ABORTED, ErrorReason.DEADLOCK, long, { first: 'kept', cycle: long });
    };
    const { info } = await client.unary(ACQUIRE, Buffer.of());
    expect(info?.metadata.first).toBe('kept');
    expect(Buffer.byteLength(info?.metadata.cycle ?? '')).toBeLessThanOrEqual(2_048);
  });
});

describe('a defect', () => {
  it('is INTERNAL with an error_id, under which only the log knows more', async () => {
    onAcquire = () => {
      throw new TypeError('undefined is not a secret');
    };
    const answer = await client.unary(ACQUIRE, Buffer.of());
    expect(answer).toMatchObject({ code: Status.INTERNAL, info: { reason: 'INTERNAL' } });
    expect(JSON.stringify(answer)).not.toContain('secret');
    const errorId = answer.info?.metadata.error_id;
    expect(errorId).toMatch(/^[0-9a-f-]{36}$/);
    expect(log.find((record) => record.error_id === errorId)).toMatchObject({ level: 50, err: { message: 'undefined is not a secret' } });
  });

  it('is none when a service throws a gRPC status itself', async () => {
    onAcquire = () => {
      throw new ServerError(Status.UNIMPLEMENTED, 'not here');
    };
    expect(await client.unary(ACQUIRE, Buffer.of())).toEqual({ code: Status.UNIMPLEMENTED, message: 'not here' });
  });
});

describe('the namespace', () => {
  it.each([
    [{}, 'default'],
    [{ 'stafett-namespace': 'Tax.2026_x-y' }, 'Tax.2026_x-y'],
  ])('of %j is %s', async (metadata, expected) => {
    let seen = '';
    onAcquire = (_, namespace) => {
      seen = namespace;
    };
    expect(await client.unary(ACQUIRE, Buffer.of(), metadata)).toMatchObject({ code: 0 });
    expect(seen).toBe(expected);
  });

  it.each(['a b', '', 'x'.repeat(65), 'a{b}', 'a,b'])('%j is refused', async (namespace) => {
    const answer = await client.unary(ACQUIRE, Buffer.of(), { 'stafett-namespace': namespace });
    expect(answer).toMatchObject({ code: Status.INVALID_ARGUMENT, info: { reason: 'INVALID_NAMESPACE' } });
  });
});

describe('a request that is no message', () => {
  const bad: [string, number[]][] = [
    ['garbage', [0xff, 0xff, 0xff, 0xff, 0xff, 0xff]],
    ['a name that is not UTF-8', [0x0a, 0x02, 0xc3, 0x28]],
    ['a name with a lone surrogate', [0x0a, 0x03, 0xed, 0xa0, 0x80]],
    ['a name with an overlong encoding', [0x0a, 0x02, 0xc0, 0x80]],
    ['a truncated name', [0x0a, 0x05, 0x61]],
    ['a zero byte, which generated code takes for the end', [0x00, 0x0a, 0x01, 0x61]],
    ['an end of group that was not begun', [0x0c, 0x0a, 0x01, 0x61]],
    ['an embedded message that reads on after its end', [0x1a, 0x01, 0x08, 0x05]],
    ['an embedded message that ends early', [0x1a, 0x02, 0x00, 0x00]],
    ['an embedded name that is not UTF-8', [0x32, 0x03, 0x0a, 0x01, 0xff]],
  ];

  it.each(bad)('is refused: %s', async (_, bytes) => {
    let called = false;
    onAcquire = () => {
      called = true;
    };
    const answer = await client.unary(ACQUIRE, Buffer.from(bytes));
    expect(answer).toMatchObject({ code: Status.INVALID_ARGUMENT, info: { reason: 'INVALID_FIELD', metadata: { field: 'request' } } });
    expect(called).toBe(false);
  });

  it.each(bad)('ends a stream: %s', async (_, bytes) => {
    const wrapped = [0x0a, bytes.length + 2, 0x12, bytes.length, ...bytes]; // PipelineRequest.commands[0].acquire
    const answer = await client.bidi(PIPELINE, [Buffer.of(), Buffer.from(wrapped)], { close: false });
    expect(answer).toMatchObject({ code: Status.INVALID_ARGUMENT, info: { reason: 'INVALID_FIELD' } });
    expect(answer.responses).toHaveLength(1);
  });

  it('is not one with every kind of text, or with fields that a later version knows', async () => {
    const names = ['', 'a', '\u0000', '\ufeffbom', 'e\u0301 é', '🫐', '\uffff'];
    let seen: string[] = [];
    onAcquire = (request) => {
      seen = request.names;
    };
    const unknown = [0xfa, 0x3e, 0x01, 0x78];
    const message = Buffer.concat([AcquireRequestCodec.encode(AcquireRequestCodec.fromPartial({ names })).finish(), Buffer.from(unknown)]);
    expect(await client.unary(ACQUIRE, message)).toMatchObject({ code: 0 });
    expect(seen).toEqual(names);
  });

  it('is refused when it is too large', async () => {
    expect(await client.unary(ACQUIRE, Buffer.alloc(100_001, 0x0a))).toMatchObject({ code: Status.RESOURCE_EXHAUSTED });
  });
});

describe('a server that begins to stop', () => {
  it('refuses new calls and lets bidirectional streams go on', async () => {
    expect(await client.unary(ACQUIRE, Buffer.of())).toMatchObject({ code: 0 });
    stopping.drain();
    const answer = await client.unary(ACQUIRE, Buffer.of());
    expect(answer).toMatchObject({ code: Status.UNAVAILABLE, info: { reason: 'SHUTTING_DOWN' } });
    expect(answer.retryDelayMs).toBeGreaterThan(0);
  });

  it('ends streams that only tell', async () => {
    const ended = client.serverStream(WATCH, Buffer.of(), () => stopping.drain());
    expect(await ended).toMatchObject({ code: Status.UNAVAILABLE, info: { reason: 'SHUTTING_DOWN' } });
  });

  it('tells those who watch its health, and then ends their streams', async () => {
    const seen: number[] = [];
    const ended = client.serverStream(`${HEALTH}/Watch`, Buffer.of(), (response) => {
      seen.push(response[1] ?? 0);
      if (seen.length === 1) server.health.set(true);
      if (seen.length !== 2) return;
      server.health.set(false);
      stopping.drain();
    });
    expect(await ended).toMatchObject({ code: Status.UNAVAILABLE });
    expect(seen).toEqual([2, 1, 2]); // NOT_SERVING, SERVING, NOT_SERVING
  });
});

describe('health', () => {
  it('knows the server and each of its services', async () => {
    const check = async (name: string) => {
      const answer = await client.unary(`${HEALTH}/Check`, Buffer.from([0x0a, name.length, ...Buffer.from(name)]));
      return answer.response?.[1] ?? answer.code;
    };
    expect([await check(''), await check('stafett.v1.LockService')]).toEqual([2, 2]);
    server.health.set(true);
    expect([await check(''), await check('stafett.v1.LockService')]).toEqual([1, 1]);
    expect(await check('nobody')).toBe(Status.NOT_FOUND);
  });
});

describe('what is noted of a call', () => {
  it('is its method, status and time, and nothing that the caller said', async () => {
    onAcquire = () => {
      throw new StafettError(Status.ABORTED, ErrorReason.DEADLOCK, 'x');
    };
    await client.unary(ACQUIRE, AcquireRequestCodec.encode(AcquireRequestCodec.fromPartial({ names: ['very-secret'] })).finish());
    expect(log.find(({ msg }) => msg === 'call')).toMatchObject({ level: 20, method: ACQUIRE, code: 'ABORTED', ms: expect.any(Number) });
    const metrics = await registry.metrics();
    expect(metrics).toMatch(/grpc_server_handled_total\{[^}]*grpc_method="Acquire"[^}]*grpc_code="ABORTED"[^}]*\} 1/);
    expect(JSON.stringify(log) + metrics).not.toContain('very-secret');
  });
});
