import { BinaryReader } from '@bufbuild/protobuf/wire';
import type { NormalizedServiceDefinition, TsProtoServiceDefinition } from 'nice-grpc';
import type { CallContext, MethodDescriptor, ServerMiddleware, ServerMiddlewareCall } from 'nice-grpc-common';
import * as evaluationV1 from '../gen/flagd/evaluation/v1/evaluation.js';
import * as evaluationV2 from '../gen/flagd/evaluation/v2/evaluation.js';
import * as flagSync from '../gen/flagd/sync/v1/sync.js';
import * as durations from '../gen/google/protobuf/duration.js';
import * as masks from '../gen/google/protobuf/field_mask.js';
import * as structs from '../gen/google/protobuf/struct.js';
import * as timestamps from '../gen/google/protobuf/timestamp.js';
import * as caches from '../gen/stafett/v1/cache.js';
import * as errors from '../gen/stafett/v1/error.js';
import * as events from '../gen/stafett/v1/event.js';
import * as instances from '../gen/stafett/v1/instance.js';
import * as locks from '../gen/stafett/v1/lock.js';
import * as processes from '../gen/stafett/v1/process.js';
import * as runs from '../gen/stafett/v1/run.js';
import * as sessions from '../gen/stafett/v1/session.js';
import * as settings from '../gen/stafett/v1/setting.js';
import { encodeMessage } from './encoding.js';
import { invalidField, type StafettError } from './errors.js';

/**
 * What the generated code leaves open. It replaces invalid UTF-8 by U+FFFD, so that two different names could become one;
 * it takes a zero byte for the end of a message and lets an embedded message read beyond its own end; and when it does
 * throw, grpc-js answers INTERNAL without details. Here all of that is INVALID_ARGUMENT, INVALID_FIELD.
 */

/** A message of a stream may have this: told when the transport takes it, which is when those before it have left. */
export const TAKEN = Symbol('taken');

/** A message of a stream may have this: its bytes, which are sent instead of it. */
export const ENCODED = Symbol('encoded');

interface Codec {
  decode(input: BinaryReader | Uint8Array, length?: number): unknown;
  /** For what comes often; undefined: it is nothing of that kind, and `decode` knows better. */
  decodeQuickly?(bytes: Uint8Array): unknown;
}

const GENERATED = [
  ...[durations, masks, structs, timestamps, errors],
  ...[sessions, locks, processes, runs, events, instances, settings, caches, evaluationV1, evaluationV2, flagSync],
];

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const decodeUtf8 = (bytes: Uint8Array): string => utf8.decode(bytes);

/** Stands in for a request that could not be decoded, until a middleware can refuse it with details. */
class Malformed {
  constructor(readonly problem: string) {}
}

let strict = false;

/** Makes the generated codecs insist that each message, embedded ones included, ends where it says that it ends. Once per process. */
export function makeCodecsStrict(): void {
  if (strict) return;
  strict = true;
  for (const file of GENERATED) {
    for (const member of Object.values(file)) if (isCodec(member)) checkEnd(member);
  }
}

/** The definition with request decoders that refuse whatever is not exactly a message. Needs `refuseMalformed`. */
export function strictDefinition<Definition extends TsProtoServiceDefinition>(
  definition: Definition,
): NormalizedServiceDefinition<Definition> {
  const methods = Object.entries(definition.methods).map(([key, method]) => {
    const { requestType, responseType } = method;
    // What our streams send is complete, and needs no copy that fills in what is missing.
    const encode = (value: unknown) => {
      const { [TAKEN]: onTaken, [ENCODED]: bytes } = value as { [TAKEN]?: () => void; [ENCODED]?: Uint8Array };
      onTaken?.();
      return bytes ?? encodeMessage(responseType as never, value);
    };
    const strictMethod = {
      path: `/${definition.fullName}/${method.name}`,
      requestStream: method.requestStream,
      responseStream: method.responseStream,
      requestDeserialize: (bytes: Uint8Array) => decode(requestType, bytes),
      requestSerialize: (value: unknown) => requestType.encode(value).finish(),
      responseDeserialize: (bytes: Uint8Array) => responseType.decode(bytes),
      responseSerialize: method.responseStream ? encode : (value: unknown) => encode(responseType.fromPartial?.(value) ?? value),
      options: method.options,
    };
    return [key, strictMethod];
  });
  return Object.fromEntries(methods) as NormalizedServiceDefinition<Definition>;
}

/** Refuses what `strictDefinition` could not decode: a call, or a stream from there on. */
export const refuseMalformed: ServerMiddleware = function refuseMalformedMiddleware<Request, Response>(
  call: ServerMiddlewareCall<Request, Response>,
  context: CallContext,
) {
  if (call.requestStream) return call.next(checkEach(call.request, call.method), context);
  if (call.request instanceof Malformed) throw refusal(call.request, call.method);
  return call.next(call.request, context);
};

/** Why a message that came past the middlewares is refused, or undefined if it is none of those. */
export function malformedRequest(message: unknown, path: string): StafettError | undefined {
  return message instanceof Malformed ? refusal(message, { path }) : undefined;
}

async function* checkEach<T>(requests: AsyncIterable<T>, method: MethodDescriptor): AsyncGenerator<T> {
  for await (const request of requests) {
    if (request instanceof Malformed) throw refusal(request, method);
    yield request;
  }
}

function refusal({ problem }: Malformed, method: Pick<MethodDescriptor, 'path'>): StafettError {
  return invalidField('request', `is not a valid message of ${method.path.slice(1)}: ${problem}`);
}

function decode(codec: Codec, bytes: Uint8Array): unknown {
  try {
    return codec.decodeQuickly?.(bytes) ?? codec.decode(new BinaryReader(bytes, decodeUtf8));
  } catch (error) {
    const isText = (error as { code?: unknown }).code === 'ERR_ENCODING_INVALID_ENCODED_DATA';
    return new Malformed(isText ? 'a string field is not valid UTF-8' : 'malformed protobuf');
  }
}

function checkEnd(codec: Codec): void {
  const original = codec.decode.bind(codec);
  codec.decode = (input, length) => {
    const reader = input instanceof BinaryReader ? input : new BinaryReader(input);
    const end = length === undefined ? reader.len : reader.pos + length;
    const message = original(reader, length);
    if (reader.pos !== end) throw new RangeError('a message does not end where it should');
    return message;
  };
}

function isCodec(member: unknown): member is Codec {
  return typeof member === 'object' && member !== null && 'decode' in member && 'encode' in member;
}
