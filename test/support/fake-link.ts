import { setImmediate as tick } from 'node:timers/promises';
import type { PipelineCommand, PipelineResult } from '../../clients/typescript/src/gen/stafett/v1/lock.js';
import type { PipelineListener, WriteRequest } from '../../clients/typescript/src/pipeline-stream.js';

/** The server's end of a pipeline: what came, message by message, and a way to answer. */
export class FakeLink {
  readonly messages: PipelineCommand[][] = [];
  readonly #broken = new AbortController();
  #listener: PipelineListener | undefined;
  /** A stream that takes no more: the client must wait, and may not pile up messages. */
  full = false;

  pipeline(listener: PipelineListener): WriteRequest {
    this.#listener = listener;
    this.broken.addEventListener('abort', () => listener.onEnd(this.broken.reason));
    return ({ commands }) => {
      this.messages.push(structuredClone(commands));
      return !this.full;
    };
  }

  get broken(): AbortSignal {
    return this.#broken.signal;
  }

  break(reason: unknown): void {
    this.#broken.abort(reason);
  }

  get commands(): PipelineCommand[] {
    return this.messages.flat();
  }

  answer(...results: PipelineResult[]): Promise<void> {
    if (!this.broken.aborted) this.#listener?.onResponse({ results });
    return tick();
  }

  takeMore(): Promise<void> {
    this.full = false;
    this.#listener?.onRoom();
    return tick();
  }
}
