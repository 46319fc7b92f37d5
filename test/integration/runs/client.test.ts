import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Run, RunType, RunView, Stafett } from '../../../clients/typescript/src/index.js';
import { connectClient, gate } from '../../support/client.js';
import { eventually } from '../../support/eventually.js';
import { startStack, type TestServer } from '../../support/stack.js';
import { freshNamespace } from '../../support/stub-stack.js';

// `stafett.runs`: the promises of the guide, with real servers.

interface Input {
  readonly customer: string;
}
type Work = (input: Input, run: Run) => Promise<unknown>;

const START = { restartIfNotRunning: true } as const;
const ANY = { restartIfNotRunning: true, on: 'any' } as const;
const INPUT = { customer: '42' };

let servers: TestServer[];
let namespace: string;

beforeAll(async () => {
  const stack = await startStack();
  servers = [stack.server, await stack.addServer()];
});

beforeEach(() => {
  namespace = freshNamespace();
});

/** A process with the type `report`, connected to one of the servers. */
async function node(run?: Work, options: { concurrency?: number; retryOnLost?: number; showStack?: boolean; at?: number } = {}) {
  const { at = 0, ...definition } = options;
  const stafett = await connectClient(servers[at] as TestServer, { namespace, ttl: '2s' });
  const id = ({ customer }: Input) => customer;
  return { stafett, report: stafett.runs.define<Input>('report', { id, ...(run && { run }), ...definition }) };
}

async function all<T>(views: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const view of views) found.push(view);
  return found;
}

const story = (views: readonly RunView[]) =>
  views.map(({ status, progress }) => (status === 'RUNNING' && progress ? `${status} ${progress.percent}` : status));

async function served({ runs }: Stafett, id: string): Promise<void> {
  await eventually('a node to serve', async () => (await runs.get('report', id)) !== undefined);
}

test('a report: started here, watched and awaited from another node, with its progress, its input and its result', async () => {
  const [go, seen40, seen80] = [gate(), gate(), gate()];
  const { report } = await node(async ({ customer }, run) => {
    await go.opened;
    await run.progress({ percent: 40, message: 'reading' });
    await seen40.opened; // of what a reader has not read yet it is told the latest only
    await run.progress({ percent: 80 });
    await seen80.opened;
    return { customer, pages: 12, token: String(run.fencingToken) };
  });
  const { report: elsewhere } = await node(undefined, { at: 1 });
  expect(await elsewhere.startOrGetStatus(INPUT)).toBeUndefined();
  const state = await report.startOrGetStatus(INPUT, START);
  expect(state).toMatchObject({ status: 'RUNNING', id: '42', attempt: 1 });
  const seen: RunView[] = [];
  const result = elsewhere.result(INPUT);
  go.open();
  for await (const view of elsewhere.watch(INPUT)) {
    seen.push(view);
    if (view.progress?.percent === 40) seen40.open();
    if (view.progress?.percent === 80) seen80.open();
  }
  expect(story(seen).slice(-3)).toEqual(['RUNNING 40', 'RUNNING 80', 'SUCCEEDED']);
  expect(seen.at(-2)?.progress).toEqual({ percent: 80, message: '' });
  expect(await result).toEqual({ customer: '42', pages: 12, token: String(state?.fencingToken) });
  expect(seen.at(-1)).toMatchObject({ result: { pages: 12 }, runId: state?.runId });
});

test('equal inputs are one run, in whatever order their keys are', async () => {
  const { stafett } = await node();
  const plain = stafett.runs.define<unknown>('plain');
  expect(plain.idOf({ b: [{ d: 1, c: undefined }], a: 'x' })).toBe(plain.idOf({ a: 'x', b: [{ d: 1 }] }));
  const ids = [{ a: 1 }, { a: 2 }, { a: '1' }, [1], 1, '1', null, { a: { b: 1 } }].map((each) => plain.idOf(each));
  expect(new Set(ids).size).toBe(ids.length);
});

test('many callers in many processes: the function runs once', async () => {
  let count = 0;
  const go = gate();
  const work = async () => {
    count++;
    await go.opened;
    return count;
  };
  const nodes = await Promise.all(Array.from({ length: 5 }, (_, i) => node(work, { at: i % 2 })));
  const states = await Promise.all(Array.from({ length: 100 }, (_, i) => nodes[i % 5]?.report.startOrGetStatus(INPUT, START)));
  expect(new Set(states.map((state) => state?.runId)).size).toBe(1);
  go.open();
  expect(await nodes[3]?.report.result(INPUT)).toBe(1);
  expect(count).toBe(1);
  const again = await nodes[2]?.report.startOrGetStatus(INPUT, START);
  expect(again?.runId).not.toBe(states[0]?.runId);
  expect(await nodes[0]?.report.result(INPUT)).toBe(2);
});

describe('a run that does not end well', () => {
  test('throws: FAILED with the message, and with the stack only where that is allowed', async () => {
    const fails: Work = async () => {
      throw new RangeError('no paper');
    };
    const { report } = await node(fails);
    await report.startOrGetStatus(INPUT, START);
    await expect(report.result(INPUT)).rejects.toMatchObject({ reason: 'RUN_FAILED', message: expect.stringContaining('no paper') });
    expect((await report.get(INPUT))?.error).toEqual({ message: 'no paper', stack: undefined });
    namespace = freshNamespace();
    const { report: open } = await node(fails, { showStack: true });
    await open.startOrGetStatus(INPUT, START);
    await expect(open.result(INPUT)).rejects.toThrow();
    expect((await open.get(INPUT))?.error?.stack).toMatch(/RangeError: no paper\n\s+at /);
  });

  test('returns too much, or says too much: clear errors, and nothing hangs', async () => {
    const { report } = await node(async ({ customer }, run) => {
      if (customer === 'big') return 'x'.repeat(300_000);
      await expect(run.progress({ message: 'x'.repeat(1_025) })).rejects.toThrow('message: at most 1024 bytes');
      await expect(run.progress({ percent: 101 })).rejects.toThrow('percent: 101');
      throw new Error('ö'.repeat(2_000));
    });
    await report.startOrGetStatus({ customer: 'big' }, START);
    await expect(report.result({ customer: 'big' })).rejects.toThrow('the result has 300002 bytes; at most 262144 are allowed');
    await report.startOrGetStatus(INPUT, START);
    await expect(report.result(INPUT)).rejects.toMatchObject({ reason: 'RUN_FAILED' });
    expect((await report.get(INPUT))?.error?.message).toBe('ö'.repeat(512));
    const asked = report.startOrGetStatus({ customer: '1', more: 'x'.repeat(300_000) } as Input, START);
    await expect(asked).rejects.toMatchObject({ reason: 'INVALID_FIELD', metadata: { field: 'input' } });
  });
});

describe('cancel', () => {
  test('aborts the signal of the run, wherever it is', async () => {
    const { report } = await node(async (_, run) => {
      await new Promise((resolve) => run.signal.addEventListener('abort', resolve, { once: true }));
      throw run.signal.reason;
    });
    const { report: elsewhere } = await node(undefined, { at: 1 });
    await report.startOrGetStatus(INPUT, START);
    const result = elsewhere.result(INPUT);
    expect(await elsewhere.cancel(INPUT)).toMatchObject({ status: 'RUNNING', cancelRequested: true });
    await expect(result).rejects.toMatchObject({ reason: 'RUN_CANCELLED' });
    expect(await report.cancel(INPUT)).toMatchObject({ status: 'CANCELLED' });
  });

  test('before anybody took it', async () => {
    const { report } = await node();
    await report.startOrGetStatus(INPUT, { ...ANY, waitForRunner: '1m' });
    expect(await report.cancel(INPUT)).toMatchObject({ status: 'CANCELLED' });
    await expect(report.cancel({ customer: 'unknown' })).rejects.toMatchObject({ reason: 'RUN_NOT_FOUND' });
  });
});

describe('on any node', () => {
  test('a process with the function runs it for those without, as many at a time as it says', async () => {
    const { report: asks } = await node();
    await expect(asks.startOrGetStatus(INPUT, ANY)).rejects.toMatchObject({ reason: 'NO_RUNNER' });
    const gates = [gate(), gate(), gate()];
    const seen: string[] = [];
    const work: Work = async ({ customer }, run) => {
      seen.push(customer);
      await gates[Number(customer)]?.opened;
      return run.id;
    };
    await node(work, { concurrency: 2, at: 1 });
    for (let i = 0; i < 3; i++) await asks.startOrGetStatus({ customer: String(i) }, { ...ANY, waitForRunner: '1m' });
    await eventually('two to run', () => seen.length === 2);
    expect((await asks.get({ customer: '2' }))?.status).toBe('PENDING');
    gates[1]?.open();
    await eventually('the third to run', () => seen.length === 3);
    for (const each of gates) each.open();
    expect(await asks.result({ customer: '2' })).toBe('2');
    expect(seen).toEqual(['0', '1', '2']);
  });

  test('one with concurrency 0 runs only for itself; after close nobody serves', async () => {
    const { report, stafett } = await node(async () => 'own', { concurrency: 0 });
    await expect(report.startOrGetStatus(INPUT, ANY)).rejects.toMatchObject({ reason: 'NO_RUNNER' });
    await report.startOrGetStatus(INPUT, START);
    expect(await report.result(INPUT)).toBe('own');
    namespace = freshNamespace();
    const { report: asks } = await node();
    const { stafett: serves } = await node(async () => 'any');
    await asks.startOrGetStatus(INPUT, { ...ANY, waitForRunner: '1m' });
    expect(await asks.result(INPUT)).toBe('any');
    await serves.close();
    await expect(asks.startOrGetStatus({ customer: 'more' }, ANY)).rejects.toMatchObject({ reason: 'NO_RUNNER' });
    await stafett.close();
  });
});

test('close: the signals of runs are aborted, and they are LOST at once', async () => {
  let reason: unknown;
  const { report, stafett } = await node(async (_, run) => {
    await new Promise((resolve) => run.signal.addEventListener('abort', resolve, { once: true }));
    reason = run.signal.reason;
  });
  const { report: elsewhere } = await node(undefined, { at: 1 });
  await report.startOrGetStatus(INPUT, START);
  const lost = expect(elsewhere.result(INPUT)).rejects.toMatchObject({ reason: 'RUN_LOST' }); // perhaps before `close` returns
  await stafett.close();
  await lost;
  expect(reason).toMatchObject({ reason: 'CLOSED' });
});

test('what is defined wrongly is refused at once, and other types are served all the same', async () => {
  const { stafett } = await node(async () => 'fine');
  const run = async () => {};
  expect(() => stafett.runs.define('report', { run })).toThrow('defined already');
  expect(() => stafett.runs.define('no/slash', { run })).toThrow('type:');
  expect(() => stafett.runs.define('other', { run, concurrency: -1 })).toThrow('concurrency:');
  const asks: RunType<unknown, unknown> = stafett.runs.define('asks-only');
  await expect(asks.startOrGetStatus(1, { on: 'here' })).rejects.toThrow("use 'any'");
  await expect(asks.startOrGetStatus(1, { on: 'here', waitForRunner: '1s' })).rejects.toThrow(TypeError);
  const { report } = await node();
  await report.startOrGetStatus(INPUT, { ...ANY, waitForRunner: '10s' });
  expect(await report.result(INPUT)).toBe('fine');
});

test('for operators: list, get, watch and cancel by type and id', async () => {
  const go = gate();
  const { report, stafett } = await node(async () => go.opened);
  for (const customer of ['a', 'b']) await report.startOrGetStatus({ customer }, START);
  await served(stafett, 'b');
  expect((await all(stafett.runs.list({ type: 'report', status: 'RUNNING' }))).map(({ id }) => id)).toEqual(['a', 'b']);
  expect(await all(stafett.runs.list({ status: 'FAILED' }))).toEqual([]);
  expect(await stafett.runs.get('report', 'c')).toBeUndefined();
  await stafett.runs.cancel('report', 'a');
  go.open();
  expect(story(await all(stafett.runs.watch('report', 'b'))).at(-1)).toBe('SUCCEEDED');
});
