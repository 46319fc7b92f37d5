import { expect, test } from 'vitest';
import { ErrorReason } from '../../server/src/gen/stafett/v1/error.js';
import type { PipelineRequest } from '../../server/src/gen/stafett/v1/lock.js';
import { Pipeline, type PipelineOptions } from '../../server/src/locks/pipeline.js';
import type { StafettError } from '../../server/src/rpc/errors.js';
import { Turns } from '../../server/src/rpc/turns.js';

// A server's memory is bounded, also by clients that ask and do not listen.

const MESSAGE = 1_000;
const MESSAGES = 40;
/** Results that may wait for a reader, and those of the message after which it is noticed. */
const UNREAD_MAX = 10_000 + MESSAGE;

test('who does not read the results of its pipeline is not read from either, until it does', async () => {
  let asked = 0;
  async function* requests(): AsyncGenerator<PipelineRequest> {
    for (let i = 0; i < MESSAGES; i++) {
      yield { commands: Array.from({ length: MESSAGE }, () => ({ id: BigInt(++asked), command: undefined })) };
    }
  }
  const options = { turns: new Turns(), maxInFlight: MESSAGE, generation: 0, toStafettError: (error: Error) => error as StafettError };
  const pipeline = new Pipeline(options as PipelineOptions);
  const responses = pipeline.run(requests(), new AbortController().signal)[Symbol.asyncIterator]();
  const { value: first } = await responses.next();
  await new Promise(setImmediate);
  expect(asked).toBeLessThanOrEqual(first.results.length + UNREAD_MAX);
  const results = first.results;
  for (let next = await responses.next(); !next.done; next = await responses.next()) results.push(...next.value.results);
  expect(results).toHaveLength(MESSAGES * MESSAGE);
  expect(results.at(-1)).toMatchObject({ id: BigInt(MESSAGES * MESSAGE), result: { value: { reason: ErrorReason.INVALID_FIELD } } });
});
