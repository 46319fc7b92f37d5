import { expect, test } from 'vitest';
import { ErrorReason } from '../../server/src/gen/stafett/v1/error.js';
import type { PipelineRequest, PipelineResponse, PipelineResult } from '../../server/src/gen/stafett/v1/lock.js';
import { Pipeline, type PipelineOptions } from '../../server/src/locks/pipeline.js';
import type { StafettError } from '../../server/src/rpc/errors.js';
import { Turns } from '../../server/src/rpc/turns.js';

// A server's memory is bounded, also by clients that ask and do not listen.

const MESSAGE = 1_000;
const MESSAGES = 40;
/** Results that may wait for a reader, and those of the message after which it is noticed. */
const UNREAD_MAX = 10_000 + MESSAGE;

/** A stream whose client sends all its messages, and takes nothing until it is told to. */
class DeafStream {
  readonly results: PipelineResult[] = [];
  asked = 0;
  #messages = 0;
  #listening = false;
  #onMessage: (request: PipelineRequest) => Promise<void> | undefined = () => undefined;
  #onRoom: () => void = () => {};

  open(onMessage: (request: PipelineRequest) => Promise<void> | undefined, _: unknown, onRoom: () => void): void {
    this.#onMessage = onMessage;
    this.#onRoom = onRoom;
  }

  send({ results }: PipelineResponse): boolean {
    this.results.push(...results);
    return this.#listening;
  }

  listen(): void {
    this.#listening = true;
    this.#onRoom();
  }

  /** As grpc-js does: one after the other, each when the one before was taken. */
  async *input(): AsyncGenerator<never> {
    for (; this.#messages < MESSAGES; this.#messages++) {
      const commands = Array.from({ length: MESSAGE }, () => ({ id: BigInt(++this.asked), command: undefined }));
      await this.#onMessage({ commands });
      await undefined; // what is asked in one tick is answered after it
    }
  }
}

test('who does not read the results of its pipeline is not read from either, until it does', async () => {
  const options = { turns: new Turns(), maxInFlight: MESSAGE, generation: 0, toStafettError: (error: Error) => error as StafettError };
  const stream = new DeafStream();
  const pipeline = new Pipeline(options as PipelineOptions, stream);
  const over = pipeline.run(stream.input(), new AbortController().signal)[Symbol.asyncIterator]().next();
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(stream.asked).toBeLessThanOrEqual(stream.results.length + UNREAD_MAX);
  stream.listen();
  expect(await over).toMatchObject({ done: true });
  expect(stream.results).toHaveLength(MESSAGES * MESSAGE);
  expect(stream.results.at(-1)).toMatchObject({ id: BigInt(MESSAGES * MESSAGE), result: { value: { reason: ErrorReason.INVALID_FIELD } } });
});
