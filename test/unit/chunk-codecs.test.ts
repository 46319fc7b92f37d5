import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeAnswer, encodeFromInstance } from '../../clients/typescript/src/instances/chunk-codecs.js';
import { CallInstanceResponse, ServeInstanceRequest } from '../../server/src/gen/stafett/v1/instance.js';
import { readChunkOfAnswer, readChunkOfInstance, writeChunk } from '../../server/src/instances/chunk-codecs.js';

const callIds = fc.bigInt({ min: 1n, max: 2n ** 64n - 1n });
const smallIds = fc.bigInt({ min: 1n, max: 2n ** 28n - 1n });
const chunks = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc.nat({ max: 70_000 }).map((length) => new Uint8Array(length).fill(7)),
);

function fromInstance(callId: bigint, chunk: Uint8Array): ServeInstanceRequest {
  return { callId, message: { $case: 'chunk', value: Buffer.from(chunk) } };
}

function answer(chunk: Uint8Array): CallInstanceResponse {
  return { event: { $case: 'chunk', value: Buffer.from(chunk) } };
}

/** As it comes from the socket: a part of a larger buffer. */
function within(bytes: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from('head'), bytes, Buffer.from('tail')]).subarray(4, 4 + bytes.length);
}

function same(one: Uint8Array | ArrayBuffer, other: Uint8Array): void {
  expect(Buffer.from(one as Uint8Array).equals(other)).toBe(true);
}

describe('chunks that are written and read by hand', () => {
  test('are written as the generated code writes them', () => {
    fc.assert(
      fc.property(callIds, chunks, (callId, chunk) => {
        const request = fromInstance(callId, chunk);
        same(encodeFromInstance(request).finish(), ServeInstanceRequest.encode(request).finish());
        same(writeChunk(chunk), CallInstanceResponse.encode(answer(chunk)).finish());
      }),
    );
  });

  test('are read as the generated code reads them', () => {
    fc.assert(
      fc.property(smallIds, chunks, (callId, chunk) => {
        const read = readChunkOfInstance(within(ServeInstanceRequest.encode(fromInstance(callId, chunk)).finish()));
        expect([read?.callId, read?.message?.$case]).toEqual([callId, 'chunk']);
        same(read?.message?.value as Buffer, chunk);
        const bytes = within(CallInstanceResponse.encode(answer(chunk)).finish());
        for (const { event } of [readChunkOfAnswer(bytes)!, decodeAnswer(bytes)]) same(event?.value as Buffer, chunk);
      }),
    );
  });

  test('are left to the generated code when they are anything else, or not whole', () => {
    const end = { $case: 'finished' as const, value: { totalBytes: 1n, sha256: Buffer.from('x') } };
    const whole = ServeInstanceRequest.encode(fromInstance(3n, Buffer.alloc(200))).finish();
    const others = [
      ServeInstanceRequest.encode({ callId: 3n, message: end }).finish(),
      ServeInstanceRequest.encode(fromInstance(2n ** 63n, Buffer.alloc(9))).finish(),
      Buffer.concat([whole, whole]),
      ...Array.from(whole, (_, length) => whole.subarray(0, length)),
    ];
    expect(others.filter((bytes) => readChunkOfInstance(bytes) !== undefined)).toEqual([]);
    const twice = Buffer.concat([1, 2].map((byte) => CallInstanceResponse.encode(answer(Buffer.alloc(9, byte))).finish()));
    expect(readChunkOfAnswer(twice)).toBeUndefined();
    expect(decodeAnswer(twice)).toEqual(answer(Buffer.alloc(9, 2)));
    expect(decodeAnswer(CallInstanceResponse.encode({ event: end }).finish())).toEqual({ event: end });
  });
});
