import { beforeAll, describe, expect, test } from 'vitest';
import type { DeepPartial, JoinAsNode, JoinProcessRequest } from '../../../server/src/gen/stafett/v1/process.js';
import { ProcessStatus, SlotState } from '../../../server/src/gen/stafett/v1/process.js';
import { startStack } from '../../support/stack.js';
import { refusal, type StubClient } from '../../support/stub-client.js';
import { connectStub, freshNamespace } from '../../support/stub-stack.js';

let client: StubClient;
let sessionId: string;
let join: DeepPartial<JoinAsNode>;

beforeAll(async () => {
  const { server } = await startStack({ env: { STAFETT_MAX_PROCESSES: '1', STAFETT_MAX_WORKERS: '8' } });
  client = connectStub(server, freshNamespace());
  ({ id: sessionId } = await client.openSession());
  join = { name: 'p', sessionId, declared: { workers: 2 } };
});

async function* messages(...requests: DeepPartial<JoinProcessRequest>[]) {
  yield* requests;
  await new Promise((resolve) => setTimeout(resolve, 5_000).unref());
}

/** How the stream ends, after whatever it says before. */
async function ending(...requests: DeepPartial<JoinProcessRequest>[]): Promise<void> {
  for await (const _ of client.processes.joinProcess(messages(...requests))) {
    // assignments
  }
}

const joinMessage = (change: DeepPartial<JoinAsNode> = {}) => ({ message: { $case: 'join' as const, value: { ...join, ...change } } });

function report(change: object) {
  const slot = { slot: 0, lockId: `${sessionId}.x`, state: SlotState.RUNNING, restarts: 0, lastError: '', ...change };
  return { message: { $case: 'report' as const, value: { slots: [slot] } } };
}

const LONG = 'ä'.repeat(65);

describe('JoinProcess refuses', () => {
  test.each<[field: string, change: DeepPartial<JoinAsNode>]>([
    ['join.name', { name: '' }],
    ['join.name', { name: LONG }],
    ['join.name', { name: 'a\0b' }],
    ['join.node', { node: 'x'.repeat(257) }],
    ['join.capacity', { capacity: 1_001 }],
    ['join.declared', { declared: undefined }],
    ['join.declared.workers', { declared: { workers: 9 } }],
    ['join.declared.status', { declared: { workers: 1, status: 9 as ProcessStatus } }],
    ['join.known.revision', { known: { workers: 1, revision: 1n << 60n } }],
  ])('%s of %o', async (field, change) => {
    expect(await refusal(ending(joinMessage(change)))).toMatchObject({ reason: 'INVALID_FIELD', metadata: { field } });
  });

  test.each<[field: string, change: object]>([
    ['report.slots.slot', { slot: 8 }],
    ['report.slots.lock_id', { lockId: 'x' }],
    ['report.slots.state', { state: SlotState.PENDING }],
    ['report.slots.last_error', { lastError: 'x'.repeat(1_025) }],
  ])('%s of a report of %o', async (field, change) => {
    expect(await refusal(ending(joinMessage({ capacity: 0 }), report(change)))).toMatchObject({ metadata: { field } });
  });

  test('a first message that is no join, a join of something else, an unknown session, a process too many', async () => {
    expect(await refusal(ending(report({})))).toMatchObject({ metadata: { field: 'message' } });
    expect(await refusal(ending({}))).toMatchObject({ metadata: { field: 'message' } });
    expect(await refusal(ending(joinMessage(), joinMessage({ name: 'q' })))).toMatchObject({ metadata: { field: 'join' } });
    expect(await refusal(ending(joinMessage({ sessionId: 'nobody' })))).toMatchObject({ reason: 'SESSION_NOT_FOUND' });
    expect(await refusal(ending(joinMessage({ name: 'q' })))).toMatchObject({ reason: 'TOO_MANY_PROCESSES' });
  });
});

describe('UpdateProcess refuses', () => {
  test.each([
    ['name', { name: '' }],
    ['config', { config: undefined }],
    ['config.workers', { config: { workers: 9, status: ProcessStatus.RUNNING } }],
    ['config.status', { config: { workers: 1 } }],
    ['update_mask', { updateMask: [] }],
    ['update_mask', { updateMask: ['revision'] }],
    ['revision', { revision: 1n << 60n }],
  ])('%s of %o', async (field, change) => {
    const request = { name: 'p', config: { workers: 1, status: ProcessStatus.RUNNING }, ...change };
    expect(await refusal(client.processes.updateProcess(request))).toMatchObject({ reason: 'INVALID_FIELD', metadata: { field } });
  });
});

describe('the names of slots', () => {
  test('are nobody’s to take, alone or among others, or to take away', async () => {
    const name = '~process/p/0';
    expect(await refusal(client.lock(name))).toMatchObject({ reason: 'INVALID_FIELD', metadata: { field: 'names' } });
    expect(await refusal(client.lock(['a', name]))).toMatchObject({ metadata: { field: 'names' } });
    expect(await refusal(client.forceRelease(name))).toMatchObject({ metadata: { field: 'name' } });
    const grant = await client.lock('~process'); // and no other name
    await client.release(grant);
  });
});
