import { expect, test } from 'vitest';
import { Batcher } from '../../server/src/engine/batcher.js';
import type { BatchReply, Command, CommandOf } from '../../server/src/engine/commands.js';
import { Room } from '../../server/src/engine/room.js';
import { ErrorReason } from '../../server/src/gen/stafett/v1/error.js';

const MAX = 10;
const BYTES_MAX = 1_000;

/** One that Redis does not answer, or as `send` does. */
function batcher(room: Room, send = () => new Promise<BatchReply>(() => {})): Batcher {
  return new Batcher({ room, send, onReply: () => {} });
}

function submit(to: Batcher, count: number, { bytes = 1, urgent = false } = {}): (Error | undefined)[] {
  const answers: (Error | undefined)[] = [];
  for (let i = 0; i < count; i++) to.submit<'release'>(['release', 'x'.repeat(bytes)], (error) => answers.push(error), urgent);
  return answers;
}

test('all namespaces of a server share one room, and a little of it is for keepalives', () => {
  const room = new Room(MAX);
  const [one, two] = [batcher(room), batcher(room)];
  expect(submit(one, MAX - 2)).toEqual([]);
  expect(submit(two, 5)).toMatchObject([
    { reason: ErrorReason.REDIS_UNAVAILABLE },
    { reason: ErrorReason.REDIS_UNAVAILABLE },
    { reason: ErrorReason.REDIS_UNAVAILABLE },
  ]);
  expect(submit(two, 2, { urgent: true })).toHaveLength(1);
});

test('what commands carry is bounded, too', () => {
  const room = new Room(MAX, BYTES_MAX);
  const verb = 'release'.length;
  expect(submit(batcher(room), 2, { bytes: BYTES_MAX / 2 - verb })).toEqual([]);
  expect(submit(batcher(room), 1)).toHaveLength(1);
});

test('there is room again when Redis has answered, refused, or was given up', async () => {
  const room = new Room(MAX);
  const [answers, refuses, waits] = [
    batcher(room, async () => ({ results: [], events: [] }) as unknown as BatchReply),
    batcher(room, async () => {
      throw new Error('a defect');
    }),
    batcher(room),
  ];
  for (const each of [answers, refuses]) {
    const told = submit(each, MAX);
    await new Promise((resolve) => setTimeout(resolve, 1)); // a batch at a time
    expect(told).toHaveLength(MAX);
  }
  waits.setReady(false);
  const told = submit(waits, MAX);
  waits.close(new Error('closed') as never);
  expect(told).toHaveLength(MAX);
  expect(submit(batcher(room), MAX)).toEqual([]);
});

/** What it sends, and Redis does not answer. */
function unanswered(room: Room): { to: Batcher; batches: Command[][] } {
  const batches: Command[][] = [];
  const send = (commands: Command[]) => {
    batches.push(commands);
    return new Promise<BatchReply>(() => {});
  };
  return { to: new Batcher({ room, send, onReply: () => {} }), batches };
}

const run = (count: number): CommandOf<'releases'> => ['releases', 's', ...Array.from({ length: count }, String)];

test('a run counts as what it stands for, and a batch has no more commands for it', async () => {
  const { to, batches } = unanswered(new Room(1_000));
  for (const count of [100, 20, 9, 128, 200]) to.submit<'releases'>(run(count), () => {});
  await new Promise((resolve) => setImmediate(resolve));
  expect(batches).toEqual([[run(100), run(20)], [run(9)]]); // two at a time
  const refused: unknown[] = [];
  to.submit<'releases'>(run(600), (error) => refused.push(error));
  to.submit<'releases'>(run(500), () => {});
  expect(refused).toHaveLength(1);
});

test('a run that fills a batch does not wait for one without keepalives', async () => {
  const { to, batches } = unanswered(new Room(1_000));
  to.submit<'release'>(['release', 'kept'], () => {}, true);
  to.submit<'releases'>(run(128), () => {});
  await new Promise((resolve) => setImmediate(resolve));
  expect(batches).toEqual([[['release', 'kept'], run(128)]]);
});
