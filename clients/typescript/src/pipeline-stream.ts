import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { Client, type Metadata as GrpcMetadata, Metadata as GrpcMetadataConstructor, type ServiceError } from '@grpc/grpc-js';
import { type Channel, ClientError, Metadata } from 'nice-grpc';
import { errorDetailsClientMiddleware } from 'nice-grpc-error-details';
import { LockServiceDefinition, PipelineRequest, PipelineResponse } from './gen/stafett/v1/lock.js';

const PATH = `/${LockServiceDefinition.fullName}/${LockServiceDefinition.methods.pipeline.name}`;
const DETAILS_KEY = 'grpc-status-details-bin';

export interface PipelineListener {
  onResponse(response: PipelineResponse): void;
  /** The stream takes more, after it said that it does not. */
  onRoom(): void;
  /** Told once, when the stream is over, with the reason. */
  onEnd(reason: unknown): void;
}

/** Writes one message, and tells whether there is room for more. */
export type WriteRequest = (request: PipelineRequest) => boolean;

/**
 * Opens a pipeline by grpc-js itself: each layer of nice-grpc is an async generator, which costs each message something
 * (docs/decisions/013). Ends with the signal.
 * @param channel what `createChannel` of nice-grpc makes.
 */
export function openPipeline(channel: Channel, metadata: Metadata, signal: AbortSignal, listener: PipelineListener): WriteRequest {
  const client = new Client('', null as never, { channelOverride: channel });
  const call = client.makeBidiStreamRequest(PATH, encode, decode, toGrpc(metadata));
  const cancel = () => call.cancel();
  let over = false;
  const end = (reason: unknown) => {
    if (over) return;
    over = true;
    signal.removeEventListener('abort', cancel);
    listener.onEnd(reason);
  };
  call.on('data', (response: PipelineResponse) => listener.onResponse(response));
  call.on('drain', () => listener.onRoom());
  call.on('error', (error: ServiceError) => void toClientError(error).then(end));
  call.on('end', () => setImmediate(end, new Error('the server ended the pipeline'))); // an error comes after the end, too
  signal.addEventListener('abort', cancel, { once: true });
  return (request) => call.write(request);
}

/** A larger message does not keep what it was written into, bytes. */
const KEPT_MAX = 1_048_576;

let writer = new BinaryWriter();

/** Into a buffer that is used again: a new one begins with 128 bytes, and is copied each time that it has to grow. */
function encode(request: PipelineRequest): Buffer {
  try {
    const bytes = PipelineRequest.encode(request, writer).finish();
    if (bytes.length > KEPT_MAX) writer = new BinaryWriter();
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  } catch (error) {
    writer = new BinaryWriter(); // what was written until then is in the other
    throw error;
  }
}

function decode(bytes: Buffer): PipelineResponse {
  return PipelineResponse.decode(bytes);
}

function toGrpc(metadata: Metadata): GrpcMetadata {
  const result = new GrpcMetadataConstructor();
  for (const [key, values] of metadata) for (const value of values) result.add(key, value as string);
  return result;
}

/** What nice-grpc makes of it, with the details of the trailer. */
async function toClientError({ code, details, metadata }: ServiceError): Promise<unknown> {
  const trailer = new Metadata();
  for (const value of metadata?.get(DETAILS_KEY) ?? []) trailer.append(DETAILS_KEY, value as Uint8Array);
  const method = { path: PATH, requestStream: false, responseStream: false, options: {} } as const;
  // biome-ignore lint/correctness/useYield: a unary call yields nothing
  async function* next(_: unknown, { onTrailer }: { onTrailer?: (trailer: Metadata) => void }): AsyncGenerator<never, never> {
    onTrailer?.(trailer);
    throw new ClientError(PATH, code, details);
  }
  const call = { method, requestStream: false, responseStream: false, request: undefined, next } as const;
  try {
    return await errorDetailsClientMiddleware(call as never, {}).next();
  } catch (error) {
    return error;
  }
}
