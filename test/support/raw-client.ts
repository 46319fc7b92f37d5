import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { ErrorInfo, RetryInfo } from 'nice-grpc-error-details';
import { Status as RpcStatus } from 'nice-grpc-error-details/lib/proto/google/rpc/status.js';

/** What a caller without any code of ours sees: bytes out, bytes or a status in. */
export interface RawAnswer {
  readonly code: number;
  readonly message: string;
  readonly response?: Buffer;
  /** From `grpc-status-details-bin`. */
  readonly info?: ErrorInfo;
  readonly retryDelayMs?: number;
}

const same = (bytes: Buffer) => bytes;

export class RawClient {
  readonly #client: Client;

  constructor(port: number) {
    this.#client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), { 'grpc.max_send_message_length': -1 });
  }

  unary(path: string, request: Uint8Array, metadata: Record<string, string> = {}): Promise<RawAnswer> {
    const sent = toMetadata(metadata);
    return new Promise((resolve) => {
      this.#client.makeUnaryRequest(path, same, same, Buffer.from(request), sent, (error, response) => {
        resolve(error ? toAnswer(error) : { code: 0, message: '', ...(response && { response }) });
      });
    });
  }

  /** Sends the messages, closes its side unless told otherwise, and waits for the status. */
  bidi(path: string, messages: Uint8Array[], { close = true } = {}): Promise<RawAnswer & { responses: Buffer[] }> {
    const call = this.#client.makeBidiStreamRequest(path, same, same, new Metadata());
    const responses: Buffer[] = [];
    call.on('data', (response: Buffer) => responses.push(response));
    for (const message of messages) call.write(Buffer.from(message));
    if (close) call.end();
    return new Promise((resolve) => {
      call.on('error', (error: ServiceError) => resolve({ ...toAnswer(error), responses }));
      call.on('status', ({ code, details }) => code === 0 && resolve({ code, message: details, responses }));
    });
  }

  /** Tells each message of a stream of the server; resolves with its status. */
  serverStream(path: string, request: Uint8Array, onData: (response: Buffer) => void): Promise<RawAnswer> {
    const call = this.#client.makeServerStreamRequest(path, same, same, Buffer.from(request), new Metadata());
    call.on('data', onData);
    return new Promise((resolve) => {
      call.on('error', (error: ServiceError) => resolve(toAnswer(error)));
      call.on('status', ({ code, details }) => code === 0 && resolve({ code, message: details }));
    });
  }

  close(): void {
    this.#client.close();
  }
}

function toMetadata(entries: Record<string, string>): Metadata {
  const metadata = new Metadata();
  for (const [key, value] of Object.entries(entries)) metadata.set(key, value);
  return metadata;
}

function toAnswer({ code, details, metadata }: ServiceError): RawAnswer {
  const [bytes] = metadata.get('grpc-status-details-bin');
  if (bytes === undefined) return { code, message: details };
  const any = RpcStatus.decode(bytes as Buffer).details;
  const find = (name: string) => any.find(({ typeUrl }) => typeUrl === `type.googleapis.com/${name}`)?.value;
  const info = find('google.rpc.ErrorInfo');
  const retry = find('google.rpc.RetryInfo');
  const delay = retry && RetryInfo.decode(retry).retryDelay;
  return {
    code,
    message: details,
    ...(info && { info: ErrorInfo.decode(info) }),
    ...(delay && { retryDelayMs: delay.seconds * 1000 + delay.nanos / 1e6 }),
  };
}
