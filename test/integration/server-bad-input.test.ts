import { connect } from 'node:net';
import { Status } from 'nice-grpc-common';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EventServiceDefinition } from '../../server/src/gen/stafett/v1/event.js';
import { LockServiceDefinition } from '../../server/src/gen/stafett/v1/lock.js';
import { SessionServiceDefinition } from '../../server/src/gen/stafett/v1/session.js';
import { RawClient } from '../support/raw-client.js';
import { startServer, type TestServer } from '../support/stack.js';

const GARBAGE = Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);

const METHODS = [LockServiceDefinition, SessionServiceDefinition, EventServiceDefinition].flatMap(({ fullName, methods }) =>
  Object.values(methods).map((method) => ({ path: `/${fullName}/${method.name}`, ...method })),
);

let server: TestServer;
let client: RawClient;
beforeAll(async () => {
  server = await startServer();
  client = new RawClient(server.grpcPort);
});
afterAll(async () => {
  client.close();
  // Whatever came in: it lived to the end, and nothing of it was a defect.
  expect(await server.stop()).toEqual({ code: 0, signal: null });
  expect(server.logs().filter(({ level }) => (level as number) >= 50)).toEqual([]);
});

describe('garbage instead of a request', () => {
  it.each(METHODS)('$path refuses it', async ({ path, requestStream, responseStream }) => {
    const answer = requestStream
      ? await client.bidi(path, [GARBAGE], { close: false })
      : await (responseStream ? client.serverStream(path, GARBAGE, () => {}) : client.unary(path, GARBAGE));
    expect(answer).toMatchObject({ code: Status.INVALID_ARGUMENT, info: { reason: 'INVALID_FIELD', domain: 'stafett' } });
  });
});

describe('a stream', () => {
  it.each(METHODS.filter(({ requestStream }) => requestStream))('of $path that sends nothing ends well', async ({ path }) => {
    expect(await client.bidi(path, [])).toMatchObject({ code: Status.OK, responses: [] });
  });
});

describe('what is no gRPC at all', () => {
  it.each([
    ['bytes', Buffer.from([0, 1, 2, 3])],
    ['HTTP/1', Buffer.from('GET / HTTP/1.1\r\nhost: x\r\n\r\n')],
    ['a preface and garbage', Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), Buffer.alloc(64, 0xff)])],
  ])('%s: the connection is closed and the server goes on', async (_, bytes) => {
    const socket = connect(server.grpcPort, '127.0.0.1');
    socket.on('error', () => {});
    socket.resume().end(bytes);
    await new Promise((resolve) => socket.once('close', resolve));
    expect(await client.unary('/stafett.v1.LockService/ListLocks', Buffer.of())).toMatchObject({ code: Status.OK });
  });

  it('an unknown method is UNIMPLEMENTED', async () => {
    expect(await client.unary('/stafett.v1.LockService/Steal', Buffer.of())).toMatchObject({ code: Status.UNIMPLEMENTED });
  });
});

describe('a message over the size limit', () => {
  it('is RESOURCE_EXHAUSTED', async () => {
    const answer = await client.unary('/stafett.v1.LockService/Acquire', Buffer.alloc(4_194_305, 0x0a));
    expect(answer).toMatchObject({ code: Status.RESOURCE_EXHAUSTED });
  });
});
