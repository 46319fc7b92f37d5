import { type CallInstanceResponse, InstanceServiceDefinition, type ServeInstanceRequest } from '../gen/stafett/v1/instance.js';

/**
 * Chunks are most of what passes. The generated code and nice-grpc copy each of them four times on its way out and twice on its way in, this once and not at
 * all. A message that is not exactly a chunk is left to the generated code.
 */

const CALL_ID_TAG = 0x08;
const CHUNK_OF_INSTANCE_TAG = 0x22;
const CHUNK_OF_ANSWER_TAG = 0x12;
/** Bytes of a length that is read here. */
const LENGTH_BYTES_MAX = 4;

const { serveInstance, callInstance } = InstanceServiceDefinition.methods;

/** The service, with codecs that are quick with chunks. */
export const ChunkedInstanceServiceDefinition = {
  ...InstanceServiceDefinition,
  methods: {
    ...InstanceServiceDefinition.methods,
    serveInstance: { ...serveInstance, requestType: { ...serveInstance.requestType, encode: encodeFromInstance } },
    callInstance: { ...callInstance, responseType: { ...callInstance.responseType, decode: decodeAnswer } },
  },
} as typeof InstanceServiceDefinition;

/** @internal */
export function encodeFromInstance(request: ServeInstanceRequest): { finish(): Uint8Array } {
  const { callId, message } = request;
  if (message?.$case !== 'chunk') return serveInstance.requestType.encode(request);
  return { finish: () => writeChunk(callId, message.value) };
}

/** @internal */
export function decodeAnswer(bytes: Uint8Array): CallInstanceResponse {
  const value = bytes[0] === CHUNK_OF_ANSWER_TAG ? readRest(bytes, 1) : undefined;
  return value ? { event: { $case: 'chunk', value } } : callInstance.responseType.decode(bytes);
}

/** @returns the bytes in an array of their own, which nice-grpc does not copy. */
function writeChunk(callId: bigint, chunk: Uint8Array): Uint8Array {
  const head = [CALL_ID_TAG];
  pushVarint(head, callId);
  head.push(CHUNK_OF_INSTANCE_TAG);
  pushVarint(head, BigInt(chunk.length));
  const bytes = Buffer.allocUnsafeSlow(head.length + chunk.length);
  bytes.set(head);
  bytes.set(chunk, head.length);
  return bytes.buffer as unknown as Uint8Array;
}

function pushVarint(bytes: number[], value: bigint): void {
  let rest = value;
  for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  bytes.push(Number(rest));
}

/** A length, and so many bytes up to the end: no copy. */
function readRest(bytes: Uint8Array, at: number): Buffer | undefined {
  let length = 0;
  for (let i = 0; i < LENGTH_BYTES_MAX; i++) {
    const byte = bytes[at + i] ?? 0;
    length |= (byte & 0x7f) << (7 * i);
    if (byte >= 0x80) continue;
    const begin = at + i + 1;
    return begin + length === bytes.length ? Buffer.from(bytes.buffer, bytes.byteOffset + begin, length) : undefined;
  }
  return undefined;
}
