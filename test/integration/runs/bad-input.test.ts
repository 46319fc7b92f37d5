import { Status } from 'nice-grpc-common';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { ReportRunRequest, RunState, RunStatus, StartOrGetStatusRequest } from '../../../server/src/gen/stafett/v1/run.js';
import { startServer, type TestServer } from '../../support/stack.js';
import { refusal, type StubClient } from '../../support/stub-client.js';
import { toDuration } from '../../support/stub-duration.js';
import { failure, json, progress, report, StubRunner, start, startHere, success, TYPE } from '../../support/stub-run.js';
import type { StubSession } from '../../support/stub-session.js';
import { connectStub, freshNamespace } from '../../support/stub-stack.js';

// Bad input: INVALID_ARGUMENT, the field, nothing changed. Limits: named, with a clear error.

const KIB = 1_024;
const DAY_MS = 24 * 60 * 60 * 1_000;

let server: TestServer;
let client: StubClient;
let session: StubSession;

beforeAll(async () => {
  server = await startServer({ env: { STAFETT_MAX_RUNS: '3' } });
});

beforeEach(async () => {
  client = connectStub(server, freshNamespace());
  session = await client.openSession();
});

const invalid = (field: string) => ({ code: Status.INVALID_ARGUMENT, reason: 'INVALID_FIELD', metadata: { field } });
const text = (bytes: number) => Buffer.from(`"${'x'.repeat(bytes - 2)}"`);

const STARTS: [what: string, field: string, request: Partial<StartOrGetStatusRequest>][] = [
  ['no type', 'type', { type: '' }],
  ['a type with a slash', 'type', { type: 'a/b' }],
  ['a type that is too long', 'type', { type: 'x'.repeat(65) }],
  ['no id', 'id', { id: '' }],
  ['an id with a zero byte', 'id', { id: 'a\0b' }],
  ['an id that is too long', 'id', { id: 'ö'.repeat(129) }],
  ['an input that is no JSON', 'input', { input: Buffer.from('{"a":') }],
  ['an input that is no UTF-8', 'input', { input: Buffer.from([0x22, 0xff, 0x22]) }],
  ['an input that is too big', 'input', { input: text(256 * KIB + 1) }],
  ['a TTL that is too short', 'result_ttl', { resultTtl: toDuration(999) }],
  ['a TTL that is too long', 'result_ttl', { resultTtl: toDuration(DAY_MS + 1) }],
  ['too many retries', 'retry_on_lost', { retryOnLost: 101 }],
  ['a wait for a run of its own', 'wait_for_runner', { waitForRunner: toDuration(1_000) }],
  ['a bad request id', 'request_id', { requestId: 'a b' }],
];

test.each(STARTS)('StartOrGetStatus with %s', async (_, field, request) => {
  expect(await refusal(start(client, request, session))).toMatchObject(invalid(field));
  expect((await client.processes.listRuns({})).runs).toEqual([]);
});

test('StartOrGetStatus for a session that is not there', async () => {
  for (const id of ['gone', 'no id at all'])
    expect(await refusal(start(client, {}, { id }))).toMatchObject({ code: Status.NOT_FOUND, reason: 'SESSION_NOT_FOUND' });
});

const REPORTS: [what: string, field: string, report: ReportRunRequest['report']][] = [
  ['nothing', 'report', undefined],
  ['more than all', 'progress.percent', progress(100.1)],
  ['less than nothing', 'progress.percent', progress(-1)],
  ['no number', 'progress.percent', progress(Number.NaN)],
  ['a message that is too long', 'progress.message', progress(1, 'x'.repeat(KIB + 1))],
  ['a result that is too big', 'success.result', { $case: 'success', value: { result: text(256 * KIB + 1) } }],
  ['a result that is no JSON', 'success.result', { $case: 'success', value: { result: Buffer.from('nope') } }],
  ['an error that is too long', 'failure.message', failure('x'.repeat(KIB + 1))],
  ['a stack that is too long', 'failure.stack', failure('x', 'x'.repeat(16 * KIB + 1))],
];

describe('ReportRun with', () => {
  test.each(REPORTS)('%s', async (_, field, what) => {
    const run = await startHere(client, session);
    const { state: before } = await client.processes.getRun({ type: TYPE, id: '1' });
    expect(await refusal(report(client, run, what))).toMatchObject(invalid(field));
    expect((await client.processes.getRun({ type: TYPE, id: '1' })).state).toEqual(before);
  });

  test('as much as is allowed', async () => {
    const run = await startHere(client, session, { input: text(256 * KIB), id: 'ö'.repeat(128) });
    await report(client, run, progress(100, 'x'.repeat(KIB)));
    await report(client, run, { $case: 'success', value: { result: text(256 * KIB) } });
    const { state } = await client.processes.getRun({ type: TYPE, id: 'ö'.repeat(128) });
    expect(state?.result).toHaveLength(256 * KIB);
  });

  test('a run_id that is none', async () => {
    const run = { ...(await startHere(client, session)), runId: 'x' } as RunState;
    expect(await refusal(report(client, run, success(1)))).toMatchObject(invalid('run_id'));
    expect(await refusal(client.processes.cancelRun({ type: TYPE, id: '1', runId: 'x' }))).toMatchObject(invalid('run_id'));
  });
});

describe('ServeRuns with', () => {
  test.each([
    ['a type that is none', 'offers.type', [{ type: 'a b', concurrency: 1 }]],
    ['no room', 'offers.concurrency', [{ type: 'a', concurrency: 0 }]],
    ['too much room', 'offers.concurrency', [{ type: 'a', concurrency: 10_001 }]],
    ['too many types', 'offers', Array.from({ length: 101 }, (_, i) => ({ type: `t${i}`, concurrency: 1 }))],
  ])('%s', async (_, field, offers) => {
    const runner = new StubRunner(client, session);
    runner.offer(Object.fromEntries(offers.map(({ type, concurrency }) => [type, concurrency])));
    expect(await runner.ended).toMatchObject(invalid(field));
  });
});

test('ListRuns of an unknown status, a bad type, a bad page', async () => {
  expect(await refusal(client.processes.listRuns({ status: 99 as RunStatus }))).toMatchObject(invalid('status'));
  expect(await refusal(client.processes.listRuns({ type: 'a/b' }))).toMatchObject(invalid('type'));
  expect(await refusal(client.processes.listRuns({ pageSize: -1 }))).toMatchObject(invalid('page_size'));
  expect(await refusal(client.processes.listRuns({ pageToken: '*' }))).toMatchObject(invalid('page_token'));
});

test('TOO_MANY_RUNS: of those that are remembered; who is there may be asked for and started again', async () => {
  const runs = [];
  for (const id of ['1', '2', '3']) runs.push(await startHere(client, session, { id, input: json(id) }));
  await report(client, runs[0] as RunState, success(1));
  const refused = await refusal(start(client, { id: '4' }, session));
  expect(refused).toMatchObject({ code: Status.RESOURCE_EXHAUSTED, reason: 'TOO_MANY_RUNS', retryDelayMs: expect.any(Number) });
  await startHere(client, session, { id: '1' });
  expect(await start(client, { id: '2' }, session)).toMatchObject({ started: false });
});
