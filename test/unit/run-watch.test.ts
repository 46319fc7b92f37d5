import { describe, expect, test } from 'vitest';
import type { RunRecord, RunView } from '../../server/src/engine/run-commands.js';
import { RunStatus } from '../../server/src/gen/stafett/v1/run.js';
import { RunWatch } from '../../server/src/processes/runs/run-watch.js';

// What one reader of a run's states is told, however they arrive and however slowly it reads.

const { RUNNING, SUCCEEDED, LOST, PENDING } = RunStatus;

function view(rev: number, status: RunStatus, more: Partial<RunRecord> = {}): RunView {
  const times = { asked: 1, started: 1, stopped: 0, forget: 0 };
  const texts = { message: '', err: '', stack: '', sid: 's', owner: '', request: '' };
  const run = { status, rev, run: 1, percent: 0, cancel: 0, attempt: 1, retries: 0, ttl: 1, next: 0, ...times, ...texts, ...more } as const;
  return ['report/1', run, ''];
}

const at = (rev: number, percent: number) => view(rev, RUNNING, { percent });

/** Reads all that there is, to the end. */
async function readAll(watch: RunWatch): Promise<string[]> {
  const told: string[] = [];
  for await (const [, { status, percent, run }] of watch.states()) told.push(`${run} ${RunStatus[status]} ${percent}`);
  return told;
}

test('a reader that reads hears every state in order', async () => {
  const watch = new RunWatch('report/1');
  const states = watch.states()[Symbol.asyncIterator]();
  const next = async () => (await states.next()).value?.[1].percent;
  watch.begin(at(1, 0));
  expect(await next()).toBe(0);
  for (let i = 2; i < 100; i++) {
    watch.offer(at(i, i));
    expect(await next()).toBe(i);
  }
});

describe('a slow reader', () => {
  test('gets the latest progress, and every other state, also of the runs that follow', async () => {
    const watch = new RunWatch('report/1');
    watch.begin(view(1, PENDING));
    for (let i = 2; i <= 50; i++) watch.offer(at(i, i));
    watch.offer(view(51, LOST, { next: 2 }));
    watch.offer(view(52, PENDING, { run: 2 }));
    for (let i = 53; i <= 90; i++) watch.offer(view(i, RUNNING, { run: 2, percent: i }));
    watch.offer(view(91, SUCCEEDED, { run: 2 }));
    expect(await readAll(watch)).toEqual(['1 PENDING 0', '1 RUNNING 50', '1 LOST 0', '2 PENDING 0', '2 RUNNING 90', '2 SUCCEEDED 0']);
  });
});

describe('states that arrive out of order', () => {
  test('wait for what is missing', async () => {
    const watch = new RunWatch('report/1');
    expect(watch.offer(at(3, 30))).toBe(true); // nobody knows yet where it begins
    watch.begin(at(2, 20));
    expect(watch.offer(view(5, SUCCEEDED))).toBe(false);
    expect(watch.offer(at(2, 20))).toBe(true);
    expect(watch.offer(at(4, 40))).toBe(true);
    expect(await readAll(watch)).toEqual(['1 RUNNING 40', '1 SUCCEEDED 0']);
  });

  test('are told without what does not come', async () => {
    const watch = new RunWatch('report/1');
    watch.begin(at(1, 10));
    expect(watch.offer(view(9, SUCCEEDED))).toBe(false);
    watch.skip();
    expect(await readAll(watch)).toEqual(['1 RUNNING 10', '1 SUCCEEDED 0']);
  });
});

test('after a loss of data revisions begin anew, and what was told is not told again', async () => {
  const watch = new RunWatch('report/1');
  watch.begin(at(70, 10));
  watch.forget();
  watch.begin(at(1, 10));
  watch.offer(at(2, 20));
  watch.offer(view(3, SUCCEEDED));
  expect(await readAll(watch)).toEqual(['1 RUNNING 20', '1 SUCCEEDED 0']);
});

test('it ends with a failure after what was told before', async () => {
  const watch = new RunWatch('report/1');
  watch.begin(at(1, 10));
  watch.end(new Error('gone'));
  await expect(readAll(watch)).rejects.toThrow('gone');
});
