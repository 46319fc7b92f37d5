import { setTimeout as sleep } from 'node:timers/promises';
import { Status } from 'nice-grpc-common';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type RunState, RunStatus } from '../../../server/src/gen/stafett/v1/run.js';
import { eventually } from '../../support/eventually.js';
import { startStack, type TestServer } from '../../support/stack.js';
import { refusal, type StubClient } from '../../support/stub-client.js';
import { toDuration, toMs } from '../../support/stub-duration.js';
import { cancelled, failure, progress, report, StubRunWatch, start, startHere, success, TYPE } from '../../support/stub-run.js';
import { connectStub, freshNamespace } from '../../support/stub-stack.js';

// Ad-hoc processes as any client sees them: starting, reporting, watching. Plain stubs, several servers over one Redis.

const LOST_MS = 250;
const TTL_MS = 1_500;
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

const last = <T>(items: T[]): T => items.at(-1) as T;

describe('StartOrGetStatus', () => {
  test('100 callers on 5 servers at once: one run, and all see its run_id', async () => {
    const sessions = await Promise.all(clients.map((each) => each.openSession()));
    const calls = Array.from({ length: 100 }, (_, i) => start(clients[i % 5] as StubClient, {}, sessions[i % 5]));
    const answers = await Promise.all(calls);
    expect(new Set(answers.map(({ state }) => state?.runId)).size).toBe(1);
    const started = answers.flatMap((answer, i) => (answer.started ? [i] : []));
    expect(started).toHaveLength(1);
    expect(answers[0]?.state?.sessionId).toBe(sessions[(started[0] as number) % 5]?.id);
    const { runs } = await other.processes.listRuns({});
    expect(runs).toHaveLength(1);
  });

  test('without restart_if_not_running it starts nothing: the status, or none', async () => {
    const session = await client.openSession();
    expect(await start(client, { restartIfNotRunning: false }, session)).toMatchObject({ started: false });
    expect((await start(client, { restartIfNotRunning: false }, session)).state).toBeUndefined();
    const run = await startHere(client, session);
    expect((await start(other, { restartIfNotRunning: false })).state).toMatchObject({ runId: run.runId, status: RunStatus.RUNNING });
    await report(client, run, success(1));
    expect((await start(other, { restartIfNotRunning: false })).state).toMatchObject({ runId: run.runId, status: RunStatus.SUCCEEDED });
  });

  test('one that has ended is started again, with a higher fencing token; one that runs is not', async () => {
    const session = await client.openSession();
    const first = await startHere(client, session);
    expect(await start(other, {}, await other.openSession())).toMatchObject({ started: false, state: { runId: first.runId } });
    await report(client, first, failure('no luck', 'at once'));
    expect(await present()).toMatchObject({ status: RunStatus.FAILED, error: { message: 'no luck', stack: 'at once' } });
    const second = await startHere(client, session);
    expect(second.fencingToken).toBeGreaterThan(first.fencingToken);
    expect(second).toMatchObject({ status: RunStatus.RUNNING, attempt: 1, error: undefined, progress: undefined });
  });

  test('the same request again finds the run that it started, though it is over by then', async () => {
    const session = await client.openSession();
    const run = await startHere(client, session, { requestId: 'once' });
    expect(await start(other, { requestId: 'once' }, session)).toMatchObject({ started: true, state: { runId: run.runId } });
    await report(client, run, success('done'));
    const again = await start(other, { requestId: 'once' }, session);
    expect(again).toMatchObject({ state: { runId: run.runId, status: RunStatus.SUCCEEDED } });
  });

  test('the state is kept for its TTL, counted from the end', async () => {
    const run = await startHere(client, await client.openSession(), { resultTtl: toDuration(1_000) });
    await sleep(1_100); // longer than the TTL
    await report(client, run, success({ pages: 12 }));
    const state = await present();
    expect(JSON.parse(Buffer.from(state.result).toString())).toEqual({ pages: 12 });
    expect(toMs(state.expireTime) - toMs(state.stopTime)).toBe(1_000);
    await eventually('it to be forgotten', async () => (await start(other, { restartIfNotRunning: false })).state === undefined);
    expect(await refusal(other.processes.getRun(REF))).toMatchObject({ code: Status.NOT_FOUND, reason: 'RUN_NOT_FOUND' });
  });
});

describe('a run hangs on the session of its node', () => {
  test('when that runs out it is LOST at that moment, watchers hear it, and it may be started again', async () => {
    const session = await client.openSilentSession({ ttlMs: TTL_MS });
    const run = await startHere(client, session);
    const watch = new StubRunWatch(other);
    await watch.ended;
    expect(watch.story()).toEqual(['RUNNING 0', 'LOST']);
    const late = toMs(last(watch.states).stopTime) - toMs(session.opened.expireTime);
    console.log(`runs: LOST ${late} ms after the session's end`);
    expect(late).toBeGreaterThanOrEqual(0);
    expect(late).toBeLessThanOrEqual(LOST_MS);
    expect(last(watch.states)).toMatchObject({ runId: run.runId, error: { message: expect.stringContaining('session') }, nextRunId: '' });
    expect(await start(other, {}, await other.openSession())).toMatchObject({ started: true });
  });

  test('when that is closed it is LOST at once', async () => {
    const session = await client.openSession();
    await startHere(client, session);
    await other.sessions.closeSession({ sessionId: session.id });
    expect(await present()).toMatchObject({ status: RunStatus.LOST });
  });

  test('a run that is silent for many TTLs is still running', async () => {
    const session = await client.openSession({ ttlMs: 1_000 });
    const run = await startHere(client, session);
    await sleep(3_000);
    expect(await present()).toMatchObject({ runId: run.runId, status: RunStatus.RUNNING });
  });

  test('what a stale runner reports is refused, and changes nothing', async () => {
    const stale = await client.openSilentSession({ ttlMs: 1_000 });
    const lost = await startHere(client, stale);
    await eventually('the run to be lost', async () => (await present()).status === RunStatus.LOST);
    const refused = { code: Status.FAILED_PRECONDITION, reason: 'RUN_NOT_CURRENT' };
    expect(await refusal(report(client, lost, success('stale')))).toMatchObject({ ...refused, metadata: { present_status: 'LOST' } });
    const next = await startHere(other, await other.openSession());
    for (const what of [progress(99), success('stale'), failure('stale'), cancelled]) {
      const found = await refusal(report(client, lost, what));
      expect(found).toMatchObject({ ...refused, metadata: { run_id: lost.runId, present_run_id: next.runId } });
    }
    expect(await present()).toMatchObject({ runId: next.runId, status: RunStatus.RUNNING, progress: undefined });
    expect(await refusal(report(client, { ...next, sessionId: stale.id }, success('foreign')))).toMatchObject(refused);
    await report(other, next, success('right'));
    expect(JSON.parse(Buffer.from((await present()).result).toString())).toBe('right');
  });

  test('the last report may be repeated, but not contradicted', async () => {
    const run = await startHere(client, await client.openSession());
    await report(client, run, success(1));
    await report(other, run, success(1));
    expect(await refusal(report(client, run, failure('no')))).toMatchObject({ reason: 'RUN_NOT_CURRENT' });
  });
});

describe('WatchRun', () => {
  test('tells every state in order, to watchers on every server, and ends', async () => {
    const run = await startHere(client, await client.openSession());
    const watches = clients.map((each) => new StubRunWatch(each));
    await eventually('all to watch', () => watches.every(({ states }) => states.length === 1));
    for (let i = 1; i <= 5; i++) {
      await report(client, run, progress(i * 10, `step ${i}`));
      // Of what a reader has not read yet it is told the latest only.
      await eventually('all to be told', () => watches.every(({ states }) => states.length === 1 + i));
    }
    await report(client, run, success('done'));
    for (const watch of watches) {
      expect(await watch.ended).toBeUndefined();
      const revisions = watch.states.map(({ revision }) => revision);
      expect(revisions).toEqual(revisions.toSorted((a, b) => Number(a - b)));
      expect(watch.story().filter((state) => state === 'SUCCEEDED')).toHaveLength(1);
      expect(watch.story()).toEqual(['RUNNING 0', 'RUNNING 10', 'RUNNING 20', 'RUNNING 30', 'RUNNING 40', 'RUNNING 50', 'SUCCEEDED']);
    }
  });

  test('of one that is over tells how it ended, and ends', async () => {
    const run = await startHere(client, await client.openSession());
    await report(client, run, success('done'));
    const watch = new StubRunWatch(other);
    expect(await watch.ended).toBeUndefined();
    expect(watch.story()).toEqual(['SUCCEEDED']);
  });

  test('of one that never was is refused', async () => {
    expect(await new StubRunWatch(client).ended).toMatchObject({ reason: 'RUN_NOT_FOUND' });
  });
});
