import { createHash } from 'node:crypto';
import type { Connection } from '../connection.js';
import { toMs, toProtoDuration } from '../durations.js';
import { answerIncomplete, isUnavailable, StafettError } from '../errors.js';
import type { CallEnd, CallStart } from '../gen/stafett/v1/instance.js';
import { LinkedSignal } from '../signals.js';
import type { CallOptions, CallParams } from './handler.js';

/**
 * An answer, as it comes: read it once, as chunks, or as a whole by `bytes()`, `text()` or `json()`. Nothing is asked before it is
 * read. It throws a {@link StafettError} when it is not complete, or not what the instance sent: INSTANCE_LOST, CALL_FAILED, CALL_TIMEOUT,
 * INSTANCE_NOT_FOUND, CALL_NOT_FOUND and others; docs/instances.md lists them. **It is never asked again by itself**, for nobody knows
 * what asking twice would do.
 */
export class InstanceCall implements AsyncIterable<Buffer> {
  readonly #chunks: () => AsyncGenerator<Buffer, void, undefined>;

  /** @internal */
  constructor(chunks: () => AsyncGenerator<Buffer, void, undefined>) {
    this.#chunks = chunks;
  }

  [Symbol.asyncIterator](): AsyncGenerator<Buffer, void, undefined> {
    return this.#chunks();
  }

  /** All of it. Not for what may be large. */
  async bytes(): Promise<Buffer> {
    const chunks: Buffer[] = [];
    for await (const chunk of this) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  async text(): Promise<string> {
    return (await this.bytes()).toString();
  }

  async json<T = unknown>(): Promise<T> {
    return JSON.parse(await this.text()) as T;
  }
}

/** Makes the call, and compares what came with what the instance says that it sent. */
export async function* callInstance(
  connection: Connection,
  instanceId: string,
  name: string,
  params: CallParams,
  options: CallOptions,
): AsyncGenerator<Buffer, void, undefined> {
  const { signal, timeout: within, readOnly = false } = options;
  const timeout = within === undefined ? undefined : toProtoDuration(toMs(within, 'timeout'));
  const request = { instanceId, name, params: JSON.stringify(params), timeout, readOnly };
  const giveUpAt = performance.now() + connection.connectTimeoutMs;
  const link = await connection.link(giveUpAt, signal);
  const linked = new LinkedSignal(link.broken, signal);
  const check = new Check();
  try {
    for await (const { event } of link.instances.callInstance(request, { signal: linked.signal })) {
      if (event?.$case === 'started') tellStart(event.value, options);
      else if (event?.$case === 'progress') options.onProgress?.({ percent: event.value.percent, message: event.value.message });
      else if (event?.$case === 'finished') check.finish(event.value);
      else if (event?.$case === 'chunk') yield check.add(event.value);
    }
    check.assertComplete();
  } catch (cause) {
    signal?.throwIfAborted();
    if (link.broken.aborted || (isUnavailable(cause) && !hasReason(cause))) {
      throw answerIncomplete('the connection to the server broke in the middle', link.broken.reason ?? cause);
    }
    throw StafettError.from(cause);
  } finally {
    linked.unlink();
  }
}

function hasReason(cause: unknown): boolean {
  const { code, reason } = StafettError.from(cause);
  return reason !== code;
}

function tellStart({ contentType, fileName, totalBytes }: CallStart, { onStart }: CallOptions): void {
  onStart?.({ contentType, fileName, totalBytes: totalBytes === undefined ? undefined : Number(totalBytes) });
}

/** Is it what the instance sent? */
class Check {
  readonly #sha256 = createHash('sha256');
  #bytes = 0;
  #end: CallEnd | undefined;

  add(chunk: Buffer): Buffer {
    this.#sha256.update(chunk);
    this.#bytes += chunk.length;
    return chunk;
  }

  finish(end: CallEnd): void {
    this.#end = end;
  }

  /** @throws {StafettError} ANSWER_INCOMPLETE */
  assertComplete(): void {
    if (!this.#end) throw answerIncomplete('it ended without saying so');
    const { totalBytes, sha256 } = this.#end;
    if (totalBytes !== BigInt(this.#bytes)) throw answerIncomplete(`${this.#bytes} of ${totalBytes} bytes came`);
    if (!sha256.equals(this.#sha256.digest())) throw answerIncomplete('its SHA-256 is another one');
  }
}
