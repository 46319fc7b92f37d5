import { fileURLToPath } from 'node:url';
import { beforeEach, describe, expect, test } from 'vitest';
import type { RunType, RunView, Stafett } from '../../clients/typescript/src/index.js';
import { onCleanup } from '../support/cleanup.js';
import { connectClient, gate } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { plainEnv, startProcess, type TestProcess } from '../support/process.js';
import { compiledProgram } from '../support/program.js';
import { startStack, type TestServer, type TestStack } from '../support/stack.js';
import { freshNamespace } from '../support/stub-stack.js';

// What becomes of a run when its node dies or freezes, when the server under a watch dies, and when Redis loses its data.

const TTL_MS = 1_500;
const LOST_MS = 250;
/** Each starts several processes, which on a busy machine takes its time. */
const TIMEOUT = { timeout: 120_000 };
const PROGRAM = fileURLToPath(new URL('../support/run-node.ts', import.meta.url));
const ANY = { restartIfNotRunning: true, on: 'any', waitForRunner: '1m' } as const;

let stack: TestStack;
let namespace: string;
let asker: Stafett;

beforeEach(async () => {
  stack = await startStack({ env: { STAFETT_MAX_TTL: '4s' } });
  namespace = freshNamespace();
  asker = await connectClient(stack.server, { namespace, ttl: '2s' });
});

function define(retryOnLost = 0): RunType<number, number> {
  return asker.runs.define<number, number>('report', { id: () => '1', retryOnLost });
}

async function startNode({ address }: TestServer = stack.server): Promise<TestProcess> {
  const node = startProcess(process.execPath, [compiledProgram(PROGRAM), address, namespace, String(TTL_MS)], plainEnv());
  onCleanup(() => node.kill('SIGKILL'));
  await eventually('the node to be ready', () => node.stdout().includes('ready') || node.ended, { timeoutMs: 30_000 });
  expect(node.ended, node.stderr()).toBe(false);
  return node;
}

const begins = (node: TestProcess) => eventually('the node to run it', () => node.stdout().includes('begins'), { timeoutMs: 20_000 });

interface Watched {
  readonly views: RunView[];
  readonly ended: Promise<unknown>;
}

function follow(views: AsyncIterable<RunView>): Watched {
  const seen: RunView[] = [];
  const read = async () => {
    for await (const view of views) seen.push(view);
  };
  const ended = read();
  ended.catch(() => {});
  return { views: seen, ended };
}

const statuses = ({ views }: Watched) => views.map(({ status }) => status).filter((status, i, all) => status !== all[i - 1]);

/** From the last sign of life to the loss, less the TTL: both by the clock of Redis; a keepalive may have been on its way. */
function expectLostInTime({ views }: Watched, killedAt: number): void {
  const lost = views.find(({ status }) => status === 'LOST')?.stopTime as Date;
  const late = lost.getTime() - killedAt - TTL_MS;
  console.log(`fault: a run was LOST ${Math.round(late)} ms after the TTL`);
  expect(late).toBeLessThanOrEqual(LOST_MS);
}

describe('a node that is killed', () => {
  test('loses its run within the TTL, and it may be started again', TIMEOUT, async () => {
    const report = define();
    const node = await startNode();
    await report.startOrGetStatus(60_000, ANY);
    await begins(node);
    const watched = follow(report.watch(0));
    await eventually('the progress', () => watched.views.at(-1)?.progress?.percent === 10);
    const killedAt = Date.now();
    await node.kill('SIGKILL');
    await watched.ended;
    expect(statuses(watched)).toEqual(['RUNNING', 'LOST']);
    expectLostInTime(watched, killedAt);
    await expect(report.result(0)).rejects.toMatchObject({ reason: 'RUN_LOST' });
    const next = await startNode();
    await report.startOrGetStatus(0, ANY);
    expect(await report.result(0)).toBe(childOf(next));
  });

  test('with retryOnLost another node runs it by itself, and the watch goes on', TIMEOUT, async () => {
    const report = define(1);
    const node = await startNode();
    await report.startOrGetStatus(60_000, ANY);
    await begins(node);
    const watched = follow(report.watch(0));
    const other = await startNode();
    const killedAt = Date.now();
    await node.kill('SIGKILL');
    await watched.ended;
    expect(statuses(watched)).toEqual(['RUNNING', 'LOST', 'PENDING', 'RUNNING', 'SUCCEEDED']);
    expectLostInTime(watched, killedAt);
    expect(watched.views.at(-1)).toMatchObject({ attempt: 2, result: childOf(other) });
  });
});

/** The program takes the place of its shell. */
function childOf({ pid }: TestProcess): number {
  return pid;
}

test('a node that is frozen past its TTL cannot report into the run that followed', TIMEOUT, async () => {
  const report = define();
  const frozen = await startNode();
  const first = await report.startOrGetStatus(6_000, ANY);
  await begins(frozen);
  const watched = follow(report.watch(0));
  await eventually('the watch', () => watched.views.length > 0);
  frozen.pause();
  await watched.ended;
  expect(statuses(watched)).toEqual(['RUNNING', 'LOST']);
  const next = await startNode();
  const second = await report.startOrGetStatus(0, ANY);
  expect(await report.result(0)).toBe(childOf(next));
  expect(second?.fencingToken).toBeGreaterThan(first?.fencingToken as bigint);
  frozen.resume();
  await eventually('the frozen one to end its work', () => frozen.stdout().includes('ends'), { timeoutMs: 20_000 });
  expect(frozen.stdout()).toMatch(/^told (SESSION_LOST|RUN_NOT_CURRENT)$/m);
  expect(frozen.stdout()).toContain('aborted true');
  expect(await report.get(0)).toMatchObject({ runId: second?.runId, status: 'SUCCEEDED', result: childOf(next) });
});

test('the server under the watch and the node is killed: both go on over the other one', async () => {
  const other = await stack.addServer();
  const go = gate();
  const runner = await connectClient([stack.server, other], { namespace, ttl: '4s' });
  const report = runner.runs.define<string, string>('long', {
    id: () => '1',
    run: async (input, run) => {
      await run.progress({ percent: 10 });
      await go.opened;
      await run.progress({ percent: 90 });
      return input;
    },
  });
  const started = await report.startOrGetStatus('done', { restartIfNotRunning: true });
  const watcher = await connectClient([stack.server, other], { namespace, ttl: '4s' });
  const watched = follow(watcher.runs.watch('long', '1'));
  await eventually('the progress', () => watched.views.at(-1)?.progress?.percent === 10);
  await stack.server.kill();
  go.open();
  await watched.ended;
  expect(watched.views.at(-1)).toMatchObject({ status: 'SUCCEEDED', result: 'done', runId: started?.runId });
  expect(new Set(watched.views.map(({ runId }) => runId)).size).toBe(1);
});

test('Redis is restarted empty: the run goes on as the same run, and everybody hears of its end', async () => {
  const go = gate();
  const runner = await connectClient(stack.server, { namespace, ttl: '4s' });
  const report = runner.runs.define<string, string>('long', {
    id: () => '1',
    run: async (input, run) => {
      await run.progress({ percent: 10, message: 'before' });
      await go.opened;
      await run.progress({ percent: 90, message: 'after' });
      return input;
    },
  });
  const started = await report.startOrGetStatus('done', { restartIfNotRunning: true });
  const watched = follow(asker.runs.watch('long', '1'));
  await eventually('the progress', () => watched.views.at(-1)?.progress?.percent === 10);
  await stack.redis.kill();
  await stack.redis.start();
  const known = await eventually(
    'the run to be known again',
    async () => (await asker.runs.get('long', '1').catch(() => undefined)) ?? false,
  );
  expect(known).toMatchObject({ runId: started?.runId, status: 'RUNNING', progress: { percent: 10, message: 'before' } });
  const again = await report.startOrGetStatus('another', { restartIfNotRunning: true });
  expect(again?.runId).toBe(started?.runId);
  go.open();
  await watched.ended;
  expect(watched.views.at(-1)).toMatchObject({ status: 'SUCCEEDED', result: 'done', runId: started?.runId });
  expect(statuses(watched)).toEqual(['RUNNING', 'SUCCEEDED']);
  const next = await report.startOrGetStatus('next', { restartIfNotRunning: true });
  expect(next?.fencingToken).toBeGreaterThan(started?.fencingToken as bigint);
});
