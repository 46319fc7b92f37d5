import { setImmediate as tick } from 'node:timers/promises';
import type { PipelineCommand, PipelineResult } from '../../clients/typescript/src/gen/stafett/v1/lock.js';
import type { PipelineListener, WriteRequest } from '../../clients/typescript/src/pipeline-stream.js';

/** The server's end of a pipeline: what came, message by message, runs as the commands that they stand for, and a way to answer. */
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
      this.messages.push(structuredClone(commands).flatMap(unfold));
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
    if (!this.broken.aborted) this.#listener?.onResponse({ results, granted: [], released: [] });
    return tick();
  }

  takeMore(): Promise<void> {
    this.full = false;
    this.#listener?.onRoom();
    return tick();
  }
}

function unfold({ id, command }: PipelineCommand): PipelineCommand[] {
  if (command?.$case === 'acquireRun') {
    const { names, sessionId, firstRequest, ...alike } = command.value;
    return names.map((name, i) => {
      const requestId = String(firstRequest + BigInt(i));
      const value = { ...alike, names: [name], sessionId, requestId, ttl: undefined, heldLockIds: [] };
      return { id: id + BigInt(i), command: { $case: 'acquire', value } };
    });
  }
  if (command?.$case !== 'releaseRun') return [{ id, command }];
  const { sessionId, firstRequest, offsets } = command.value;
  return offsets.map((offset, i) => {
    const lockId = `${sessionId}.${firstRequest + BigInt(offset)}`;
    return { id: id + BigInt(i), command: { $case: 'release', value: { lockId } } };
  });
}
