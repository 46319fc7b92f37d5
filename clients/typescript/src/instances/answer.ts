import { createHash } from 'node:crypto';
import type { CallFailure, ServeInstanceRequest } from '../gen/stafett/v1/instance.js';
import { type AnswerInfo, type CallHandler, type CallParams, CallRefusal, type Chunk, type IncomingCall } from './handler.js';

/** Bytes of one chunk; the servers' own limit. */
const CHUNK_BYTES_MAX = 65_536;
/** Characters of a progress message, a file name, a media type. */
const TEXT_CHARS_MAX = 200;
/** Progress that comes faster is not told, ms. */
const PROGRESS_EVERY_MS = 100;

type Message = NonNullable<ServeInstanceRequest['message']>;

export interface AnswerOptions {
  readonly name: string;
  readonly params: string;
  /** Bytes that may be sent before there is more credit. */
  readonly creditBytes: number;
  readonly timeoutMs: number | undefined;
  readonly readOnly: boolean;
  send(message: Message): void;
}

/** One call that this instance answers: runs the handler, and sends what it says, as far as there is credit. */
export class Answer {
  readonly #options: AnswerOptions;
  readonly #abort = new AbortController();
  readonly #sha256 = createHash('sha256');
  #credit: number;
  #sent = 0;
  #info: AnswerInfo | undefined;
  #started = false;
  #progressAt = Number.NEGATIVE_INFINITY;
  #wake: () => void = () => {};

  constructor(options: AnswerOptions) {
    this.#options = options;
    this.#credit = options.creditBytes;
  }

  addCredit(bytes: number): void {
    this.#credit += bytes;
    this.#wake();
  }

  /** Nobody wants the answer any more: nothing more is sent. */
  cancel(reason: string): void {
    this.#abort.abort(new Error(`the call was cancelled: ${reason}`));
    this.#wake();
  }

  /** Resolves when the handler has come to its end, in whichever way. */
  async run(handle: CallHandler): Promise<void> {
    try {
      const result = await handle(parse(this.#options.params), this.#call());
      if (isIterable(result)) for await (const chunk of result) await this.#write(chunk, 'application/x-ndjson', '\n');
      else await this.#write(result, 'application/json', '');
      this.#start({});
      this.#send({ $case: 'finished', value: { totalBytes: BigInt(this.#sent), sha256: this.#sha256.digest() } });
    } catch (error) {
      this.#send({ $case: 'failed', value: toFailure(error) });
    }
  }

  #call(): IncomingCall {
    const { name, timeoutMs, readOnly } = this.#options;
    return {
      name,
      timeoutMs,
      readOnly,
      signal: this.#abort.signal,
      start: (info) => {
        this.#info = info;
      },
      progress: (percent, message = '') => {
        if (performance.now() - this.#progressAt < PROGRESS_EVERY_MS) return;
        this.#progressAt = performance.now();
        this.#send({ $case: 'progress', value: { percent, message: message.slice(0, TEXT_CHARS_MAX) } });
      },
    };
  }

  /** Waits for credit. @throws the reason when the call was cancelled, which ends the handler. */
  async #write(chunk: Chunk, jsonType: string, jsonEnd: string): Promise<void> {
    this.#abort.signal.throwIfAborted();
    const bytes = toBytes(chunk, jsonEnd);
    this.#start({ contentType: typeOf(chunk, jsonType) });
    for (let at = 0; at < bytes.length; ) {
      while (this.#credit === 0) await this.#somethingNew();
      const length = Math.min(CHUNK_BYTES_MAX, this.#credit, bytes.length - at);
      const part = bytes.subarray(at, at + length);
      this.#sha256.update(part);
      this.#credit -= length;
      this.#sent += length;
      at += length;
      this.#send({ $case: 'chunk', value: part });
    }
  }

  #start(fallback: AnswerInfo): void {
    if (this.#started) return;
    this.#started = true;
    const { contentType = fallback.contentType ?? 'application/octet-stream', fileName = '', totalBytes } = this.#info ?? {};
    const total = totalBytes === undefined ? undefined : BigInt(totalBytes);
    const value = { contentType: contentType.slice(0, TEXT_CHARS_MAX), fileName: fileName.slice(-TEXT_CHARS_MAX), totalBytes: total };
    this.#send({ $case: 'started', value });
  }

  #send(message: Message): void {
    if (!this.#abort.signal.aborted) this.#options.send(message);
  }

  async #somethingNew(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#abort.signal.throwIfAborted();
  }
}

function parse(params: string): CallParams {
  return JSON.parse(params === '' ? '{}' : params) as CallParams;
}

function isIterable(result: unknown): result is AsyncIterable<Chunk> {
  return typeof result === 'object' && result !== null && Symbol.asyncIterator in result;
}

function toBytes(chunk: Chunk, jsonEnd: string): Buffer {
  if (chunk instanceof Uint8Array) return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  return Buffer.from(typeof chunk === 'string' ? chunk : `${JSON.stringify(chunk ?? null)}${jsonEnd}`);
}

function typeOf(chunk: Chunk, jsonType: string): string {
  if (chunk instanceof Uint8Array) return 'application/octet-stream';
  return typeof chunk === 'string' ? 'text/plain; charset=utf-8' : jsonType;
}

function toFailure(error: unknown): CallFailure {
  if (error instanceof CallRefusal) return { reason: error.reason, message: error.message, metadata: { ...error.metadata } };
  return { reason: 'HANDLER_FAILED', message: error instanceof Error ? error.message : String(error), metadata: {} };
}
