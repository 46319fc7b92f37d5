import { setImmediate as tick } from 'node:timers/promises';
import type {
  PipelineCommand,
  PipelineRequest,
  PipelineResponse,
  PipelineResult,
} from '../../clients/typescript/src/gen/stafett/v1/lock.js';

/** The server's end of a pipeline: what came, message by message, and a way to answer. */
export class FakeLink {
  readonly messages: PipelineCommand[][] = [];
  readonly #broken = new AbortController();
  #answers: PipelineResponse[] = [];
  #wake = () => {};
  /** A stream that takes no more: the client must wait, and may not pile up messages. */
  full = false;
  #drain = () => {};

  readonly pipeline = (requests: AsyncIterable<PipelineRequest>) => {
    void this.#read(requests);
    return this.#respond();
  };

  get broken(): AbortSignal {
    return this.#broken.signal;
  }

  break(reason: unknown): void {
    this.#broken.abort(reason);
    this.#wake();
  }

  get commands(): PipelineCommand[] {
    return this.messages.flat();
  }

  answer(...results: PipelineResult[]): Promise<void> {
    this.#answers.push({ results });
    this.#wake();
    return tick();
  }

  takeMore(): Promise<void> {
    this.full = false;
    this.#drain();
    return tick();
  }

  async #read(requests: AsyncIterable<PipelineRequest>): Promise<void> {
    for await (const { commands } of requests) {
      this.messages.push(structuredClone(commands));
      if (this.full) await new Promise<void>((resolve) => (this.#drain = resolve));
    }
  }

  async *#respond(): AsyncIterable<PipelineResponse> {
    while (!this.#broken.signal.aborted) {
      yield* this.#answers.splice(0);
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    throw this.#broken.signal.reason;
  }
}
