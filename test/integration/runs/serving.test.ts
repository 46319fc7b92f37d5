import { Status } from 'nice-grpc-common';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type RunAssignment, type RunState, RunStatus } from '../../../server/src/gen/stafett/v1/run.js';
import { eventually } from '../../support/eventually.js';
import { httpGet } from '../../support/server-checks.js';
import { startStack, type TestServer } from '../../support/stack.js';
import { refusal, type StubClient } from '../../support/stub-client.js';
import { toDuration, toMs } from '../../support/stub-duration.js';
import { cancelled, json, progress, report, StubRunner, StubRunWatch, start, startHere, success, TYPE } from '../../support/stub-run.js';
import type { StubSession } from '../../support/stub-session.js';
import { connectStub, freshNamespace } from '../../support/stub-stack.js';

// Ad-hoc processes as any client sees them: cancelling, running for others, listing. Plain stubs, several servers over one Redis.

const LOST_MS = 250;
const _TTL_MS = 1_500;
const REF = { type: TYPE, id: '1' };

let servers: TestServer[];
let namespace: string;
let clients: StubClient[];
let client: StubClient;
let other: StubClient;

beforeAll(async () => {
  const stack = await startStack();
  servers = [stack.server, ...(await Promise.all([1, 2, 3, 4].map(() => stack.addServer())))];
});

beforeEach(() => {
  namespace = freshNamespace();
  clients = servers.map((server) => connectStub(server, namespace));
  [client, other] = clients as [StubClient, StubClient];
});

async function present(): Promise<RunState> {
  return (await other.processes.getRun(REF)).state as RunState;
}

async function node(at: StubClient, offers: Record<string, number>, ttlMs = 15_000): Promise<StubRunner> {
  const runner = new StubRunner(at, await at.openSession({ ttlMs }));
  runner.offer(offers);
  await eventually('the offers to be accepted', () => runner.accepted === 1);
  return runner;
}

async function assigned({ assignments }: StubRunner, count: number): Promise<RunAssignment[]> {
  await eventually(`${count} runs to be given to the node`, () => assignments.length === count);
  return assignments;
}

const last = <T>(items: T[]): T => items.at(-1) as T;

describe('CancelRun', () => {
  test('reaches the runner by its stream, on whichever server; who watches sees it, too', async () => {
    const runner = await node(client, {});
    const run = await startHere(clients[2] as StubClient, runner.session);
    const watch = new StubRunWatch(clients[3] as StubClient);
    await eventually('the state', () => watch.states.length === 1);
    const { state } = await other.processes.cancelRun(REF);
    expect(state).toMatchObject({ status: RunStatus.RUNNING, cancelRequested: true });
    await eventually('the cancellation', () => runner.cancellations.length === 1);
    expect(runner.cancellations[0]).toMatchObject({ ...REF, runId: run.runId });
    expect(await report(client, run, progress(50))).toMatchObject({ cancelRequested: true });
    await report(client, run, cancelled);
    await watch.ended;
    expect(last(watch.states)).toMatchObject({ status: RunStatus.CANCELLED, cancelRequested: true });
  });

  test('is told again to the next stream of the session', async () => {
    const runner = await node(client, {});
    await startHere(client, runner.session);
    runner.break();
    await runner.ended;
    await other.processes.cancelRun(REF);
    const next = new StubRunner(other, runner.session);
    next.offer({});
    await eventually('the cancellation', () => next.cancellations.length === 1);
  });

  test('before anybody took it: it is CANCELLED, and nobody gets it', async () => {
    await start(client, { waitForRunner: toDuration(60_000) });
    expect((await other.processes.cancelRun(REF)).state).toMatchObject({ status: RunStatus.CANCELLED, startTime: undefined });
    const runner = await node(client, { [TYPE]: 1 });
    await start(client, { id: '2' });
    expect((await assigned(runner, 1)).map(({ state }) => state?.id)).toEqual(['2']);
  });

  test('after the end, or of another run, changes nothing; of one that never was it is refused', async () => {
    expect(await refusal(client.processes.cancelRun(REF))).toMatchObject({ reason: 'RUN_NOT_FOUND' });
    const session = await client.openSession();
    const first = await startHere(client, session);
    await report(client, first, success('done'));
    expect((await client.processes.cancelRun(REF)).state).toMatchObject({ status: RunStatus.SUCCEEDED, cancelRequested: false });
    const second = await startHere(client, session);
    const { state } = await client.processes.cancelRun({ ...REF, runId: first.runId });
    expect(state).toMatchObject({ runId: second.runId, cancelRequested: false });
  });

  test('of one that ends well all the same leaves it SUCCEEDED', async () => {
    const run = await startHere(client, await client.openSession());
    await client.processes.cancelRun(REF);
    await report(client, run, success('done'));
    expect(await present()).toMatchObject({ status: RunStatus.SUCCEEDED, cancelRequested: true });
  });
});

describe('ServeRuns', () => {
  test('without a node that serves the type the caller is told; with wait_for_runner it waits, and in vain fails', async () => {
    expect(await refusal(start(client))).toMatchObject({
      code: Status.FAILED_PRECONDITION,
      reason: 'NO_RUNNER',
      metadata: { type: TYPE },
    });
    expect((await start(client, { restartIfNotRunning: false })).state).toBeUndefined();
    await start(client, { waitForRunner: toDuration(700) });
    const watch = new StubRunWatch(other);
    await watch.ended;
    expect(watch.story()).toEqual(['PENDING', 'FAILED']);
    expect(last(watch.states).error?.message).toContain('no node');
    const waited = toMs(last(watch.states).stopTime) - toMs(last(watch.states).createTime);
    expect(waited).toBeGreaterThanOrEqual(700);
    expect(waited).toBeLessThan(700 + LOST_MS);
  });

  test('a node gets what waits, with its input, and runs it for the caller', async () => {
    const { state } = await start(client, { waitForRunner: toDuration(60_000), input: json({ year: 2024 }) });
    expect(state).toMatchObject({ status: RunStatus.PENDING, sessionId: '' });
    const watch = new StubRunWatch(clients[4] as StubClient);
    await eventually('the state', () => watch.states.length === 1);
    const runner = await node(other, { [TYPE]: 1 });
    const [assignment] = await assigned(runner, 1);
    expect(assignment?.state).toMatchObject({ runId: state?.runId, status: RunStatus.RUNNING, sessionId: runner.session.id });
    expect(JSON.parse(Buffer.from(assignment?.input ?? '').toString())).toEqual({ year: 2024 });
    await report(other, assignment?.state as RunState, success('done'));
    await watch.ended;
    expect(watch.story()).toEqual(['PENDING', 'RUNNING 0', 'SUCCEEDED']);
  });

  test('the least busy node comes first, none above its concurrency, and the rest waits in order', async () => {
    const [small, big] = [await node(client, { [TYPE]: 1 }), await node(other, { [TYPE]: 3, more: 1 })];
    await startHere(other, big.session, { type: 'more' }); // makes it busy
    const states = [];
    for (let id = 1; id <= 6; id++) states.push((await start(clients[id % 5] as StubClient, { id: String(id) })).state);
    expect(states.map((state) => state?.sessionId)).toEqual([small, big, big, big].map(({ session }) => session.id).concat('', ''));
    await report(client, states[0] as RunState, success(1));
    expect((await other.processes.getRun({ type: TYPE, id: '5' })).state?.sessionId).toBe(small.session.id);
    expect((await other.processes.getRun({ type: TYPE, id: '6' })).state?.status).toBe(RunStatus.PENDING);
  });

  test('a node that leaves gets nothing new, and keeps what it runs', async () => {
    const runner = await node(client, { [TYPE]: 5 });
    await start(client);
    await assigned(runner, 1);
    runner.break();
    await eventually(
      'nobody to serve',
      async () => (await refusal(start(other, { id: '2' })).catch(() => undefined))?.reason === 'NO_RUNNER',
    );
    expect(await present()).toMatchObject({ status: RunStatus.RUNNING, sessionId: runner.session.id });
  });

  test('a stream of a session that is gone is refused', async () => {
    const session = await client.openSession();
    await client.sessions.closeSession({ sessionId: session.id });
    const runner = new StubRunner(client, session);
    runner.offer({ [TYPE]: 1 });
    expect(await runner.ended).toMatchObject({ code: Status.NOT_FOUND, reason: 'SESSION_NOT_FOUND' });
  });
});

describe('retry_on_lost', () => {
  async function dyingNode(at: StubClient): Promise<[StubRunner, StubSession]> {
    const session = await at.openSilentSession({ ttlMs: 1_000 });
    const runner = new StubRunner(at, session);
    runner.offer({ [TYPE]: 1 });
    await eventually('the offers to be accepted', () => runner.accepted === 1);
    return [runner, session];
  }

  test('starts it again on a node that serves it, so many times, and the watch goes on', async () => {
    await dyingNode(client);
    const { state: first } = await start(client, { retryOnLost: 1, input: json('in') });
    const watch = new StubRunWatch(other);
    await eventually('it to be lost', () => watch.story().includes('LOST'));
    const [second] = await dyingNode(other);
    const [assignment] = await assigned(second, 1);
    expect(assignment).toMatchObject({ input: json('in'), state: { attempt: 2 } });
    await watch.ended;
    expect(watch.story()).toEqual(['RUNNING 0', 'LOST', 'PENDING', 'RUNNING 0', 'LOST']);
    expect(watch.states[1]).toMatchObject({ runId: first?.runId, nextRunId: assignment?.state?.runId });
    expect(last(watch.states)).toMatchObject({ attempt: 2, nextRunId: '' });
    expect(await refusal(report(client, first as RunState, success('stale')))).toMatchObject({ reason: 'RUN_NOT_CURRENT' });
  });

  test('not when it was to be cancelled', async () => {
    await dyingNode(client);
    await start(client, { retryOnLost: 5 });
    await other.processes.cancelRun(REF);
    const watch = new StubRunWatch(other);
    await watch.ended;
    expect(last(watch.states)).toMatchObject({ status: RunStatus.LOST, nextRunId: '', attempt: 1 });
  });
});

describe('ListRuns', () => {
  test('lists by type and status, in pages', async () => {
    const session = await client.openSession();
    const ids = ['a', 'b', 'c', 'd/e'];
    for (const id of ids) await startHere(client, session, { id });
    await startHere(client, session, { type: 'report.2', id: 'x' });
    await report(client, (await other.processes.getRun({ type: TYPE, id: 'b' })).state as RunState, success('a result'));
    const all = async (request: object) => {
      const found: RunState[] = [];
      for (let pageToken = ''; ; ) {
        const page = await other.processes.listRuns({ ...request, pageToken, pageSize: 2 });
        expect(page.runs.length).toBeLessThanOrEqual(2);
        found.push(...page.runs);
        if (page.nextPageToken === '') return found.map(({ type, id }) => `${type}/${id}`);
        pageToken = page.nextPageToken;
      }
    };
    expect(await all({})).toEqual([`${TYPE}.2/x`, ...ids.map((id) => `${TYPE}/${id}`)]);
    expect(await all({ type: TYPE })).toEqual(ids.map((id) => `${TYPE}/${id}`));
    expect(await all({ status: RunStatus.SUCCEEDED })).toEqual([`${TYPE}/b`]);
    expect((await other.processes.listRuns({ status: RunStatus.SUCCEEDED })).runs[0]?.result).toHaveLength(0);
  });
});

test('metrics tell how many there are and how they end, by types that are bounded', async () => {
  const session = await client.openSession();
  for (let i = 0; i < 60; i++) await report(client, await startHere(client, session, { type: `metric-${i}` }), success(i));
  const { body } = await httpGet(servers[0] as TestServer, '/metrics');
  expect(body).toMatch(/stafett_runs_ended_total\{type="other",status="succeeded"\} \d+/);
  expect(new Set(body.match(/stafett_runs_ended_total\{type="[^"]+/g)).size).toBeLessThanOrEqual(51);
  expect(body).toContain('stafett_runs_running');
});
