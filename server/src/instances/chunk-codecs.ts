import { type CallInstanceResponse, InstanceServiceDefinition, type ServeInstanceRequest } from '../gen/stafett/v1/instance.js';

/**
 * Chunks are most of what passes a server. The generated code and nice-grpc copy each of them five times on its way through, this once. A message that is
 * not exactly a chunk, in the order of fields in which everybody writes it, is left to the generated code.
 */

const CALL_ID_TAG = 0x08;
const CHUNK_OF_INSTANCE_TAG = 0x22;
const CHUNK_OF_ANSWER_TAG = 0x12;
/** Bytes of a varint that is read here; longer ones are left to the generated code. */
const VARINT_BYTES_MAX = 4;

type MessageType = (typeof InstanceServiceDefinition.methods)['serveInstance' | 'callInstance' | 'forwardCall'][
  | 'requestType'
  | 'responseType'];

/** The service, with codecs that are quick with chunks. */
export const ChunkedInstanceServiceDefinition = {
  ...InstanceServiceDefinition,
  methods: withQuickCodecs(InstanceServiceDefinition.methods),
};

function withQuickCodecs(methods: typeof InstanceServiceDefinition.methods): typeof InstanceServiceDefinition.methods {
  const { serveInstance, callInstance, forwardCall } = methods;
  return {
    ...methods,
    serveInstance: { ...serveInstance, requestType: quickReader(serveInstance.requestType, readChunkOfInstance) },
    callInstance: { ...callInstance, responseType: quickWriter(callInstance.responseType) },
    forwardCall: { ...forwardCall, responseType: quickReader(quickWriter(forwardCall.responseType), readChunkOfAnswer) },
  };
}

function quickReader<Type extends MessageType>(type: Type, decodeQuickly: (bytes: Uint8Array) => unknown): Type {
  const decode = (bytes: Uint8Array) => decodeQuickly(bytes) ?? type.decode(bytes);
  // `decode` for a client of nice-grpc, `decodeQuickly` for `strictDefinition`, which has a reader of its own for the rest.
  return { ...type, decode: decodeOf(type, decode), decodeQuickly };
}

function decodeOf(type: MessageType, decode: (bytes: Uint8Array) => unknown): (input: never, length?: number) => unknown {
  return (input, length) => ((input as unknown) instanceof Uint8Array ? decode(input) : type.decode(input, length));
}

function quickWriter<Type extends MessageType>(type: Type): Type {
  const encode = (message: CallInstanceResponse) => {
    const { event } = message;
    return event?.$case === 'chunk' ? { finish: () => writeChunk(event.value) } : type.encode(message as never);
  };
  return { ...type, encode };
}

/** What an instance sends: the id of the call, and the chunk. */
export function readChunkOfInstance(bytes: Uint8Array): ServeInstanceRequest | undefined {
  if (bytes[0] !== CALL_ID_TAG) return undefined;
  const id = readVarint(bytes, 1);
  if (id === undefined || bytes[id.end] !== CHUNK_OF_INSTANCE_TAG) return undefined;
  const value = readRest(bytes, id.end + 1);
  return value && { callId: BigInt(id.value), message: { $case: 'chunk', value } };
}

/** What passes between servers. */
export function readChunkOfAnswer(bytes: Uint8Array): CallInstanceResponse | undefined {
  const value = bytes[0] === CHUNK_OF_ANSWER_TAG ? readRest(bytes, 1) : undefined;
  return value && { event: { $case: 'chunk', value } };
}

/** @returns the bytes in an array of their own, which nice-grpc does not copy. */
export function writeChunk(chunk: Uint8Array): Uint8Array {
  const { length } = chunk;
  const head = [CHUNK_OF_ANSWER_TAG];
  for (let rest = length; ; rest >>>= 7) {
    if (rest < 0x80) {
      head.push(rest);
      break;
    }
    head.push((rest & 0x7f) | 0x80);
  }
  const bytes = Buffer.allocUnsafeSlow(head.length + length);
  bytes.set(head);
  bytes.set(chunk, head.length);
  return bytes.buffer as unknown as Uint8Array;
}

/** A length, and so many bytes up to the end: no copy. */
function readRest(bytes: Uint8Array, at: number): Buffer | undefined {
  const length = readVarint(bytes, at);
  if (length === undefined || length.end + length.value !== bytes.length) return undefined;
  return Buffer.from(bytes.buffer, bytes.byteOffset + length.end, length.value);
}

function readVarint(bytes: Uint8Array, at: number): { readonly value: number; readonly end: number } | undefined {
  let value = 0;
  for (let i = 0; i < VARINT_BYTES_MAX; i++) {
    const byte = bytes[at + i];
    if (byte === undefined) return undefined;
    value |= (byte & 0x7f) << (7 * i);
    if (byte < 0x80) return { value, end: at + i + 1 };
  }
  return undefined;
}
