import { EventEmitter } from 'node:events';
import { Status } from 'nice-grpc-common';
import { Registry } from 'prom-client';
import { beforeEach, describe, expect, test } from 'vitest';
import { DeadlineQueue } from '../../server/src/deadline-queue.js';
import type { NamespaceEngine } from '../../server/src/engine/namespace-engine.js';
import type { AcquireResponse } from '../../server/src/gen/stafett/v1/lock.js';
import type { AcquirePlan } from '../../server/src/locks/acquire-plan.js';
import type { RunListener } from '../../server/src/locks/acquire-runs.js';
import { Acquires } from '../../server/src/locks/acquires.js';
import { Admission } from '../../server/src/locks/admission.js';
import { cancelAcquire } from '../../server/src/locks/lock-commands.js';
import { LockMetrics } from '../../server/src/locks/lock-metrics.js';
import { planAcquireRun, type RunPlan } from '../../server/src/locks/runs.js';

type Done = (error: Error | undefined, result?: unknown) => void;

/** Stands for the state machine: tells what was asked, and lets the test answer. */
class Script extends EventEmitter {
  readonly events = this;
  readonly epoch = { id: 'e' };
  readonly interests: unknown[] = [];
  readonly asked: Done[] = [];
  readonly commands: unknown[][] = [];
  expectExpiries(): void {}
  submit(command: unknown[], done: Done): void {
    this.commands.push(command);
    this.asked.push(done);
  }
}

function createAcquires(engine: Script): Acquires {
  const registry = new Registry();
  return new Acquires({
    engine: engine as unknown as NamespaceEngine,
    serverId: 'server',
    deadlines: new DeadlineQueue(),
    resumeWindowMs: 60_000,
    metrics: new LockMetrics(registry),
    admission: new Admission({ maxPendingAcquires: 10, maxPendingBytes: 10_000 }, registry),
  });
}

const plan: AcquirePlan = {
  command: ['acquire', 's', 'r', ['a'], 1, '', false, 0, 0, 1],
  lockId: 's.r',
  sid: 's',
  names: ['a'],
  waitMs: 60_000,
  leaseTtlMs: 0,
};

test('a client whose earlier connection was refused as outdated while it was gone is served when it comes back', () => {
  const engine = new Script();
  const acquires = createAcquires(engine);
  const gone = () => {};
  acquires.start(plan, gone);
  acquires.abandon(plan.lockId, gone); // the connection broke
  engine.asked[0]?.(undefined, ['moved']); // a later one was used already
  const responses: (AcquireResponse | undefined)[] = [];
  acquires.start(plan, (_, response) => responses.push(response)); // and asks here for the same
  engine.asked[1]?.(undefined, ['queued', 5, 1_000]);
  engine.emit('granted', plan.lockId, 7, 2_000, 3_000);
  expect(responses).toMatchObject([{ outcome: { $case: 'grant', value: { fencingToken: 7n } } }]);
});

test('an acquire that is carried out after it was cancelled is taken back', () => {
  const engine = new Script();
  const acquires = createAcquires(engine);
  const errors: unknown[] = [];
  acquires.start(plan, (error) => errors.push(error));
  cancelAcquire({ engine: engine as unknown as NamespaceEngine, acquires }, { sessionId: 's', requestId: 'r' }, () => {});
  engine.asked[1]?.(undefined, ['none']); // its batch came first
  expect(errors).toMatchObject([{ status: Status.CANCELLED }]);
  engine.asked[0]?.(undefined, ['granted', 7, 2_000, 3_000, 0]);
  expect(engine.commands.at(-1)).toEqual(['cancel', 's.r', 'server']);
});

describe('a run', () => {
  const NOW = { now: 1_000, deadline: 9_000 };
  let engine: Script;
  let acquires: Acquires;
  /** What was told of each. */
  let told: string[];

  beforeEach(() => {
    engine = new Script();
    acquires = createAcquires(engine);
    told = [];
  });

  function tell(who: string, error: Error | undefined, response?: AcquireResponse): void {
    const { outcome } = response ?? {};
    if (error)
      told.push(
        `${who}: ${(error as { reason?: unknown }).reason === undefined ? error.message : Status[(error as never as { status: Status }).status]}`,
      );
    else told.push(`${who}: ${outcome?.$case === 'grant' ? outcome.value.fencingToken : outcome?.$case}`);
  }

  const listener: RunListener = {
    answered: (offsets, tokens) => told.push(...offsets.map((offset, i) => `${offset}: ${tokens[i]}`)),
    alone: (offset) => (error, response) => tell(String(offset), error, response),
  };

  function start(count: number, firstRequest = 1) {
    const names = Array.from({ length: count }, (_, i) => `name-${i}`);
    const waitTimeout = { seconds: 60n, nanos: 0 };
    const run = { names, sessionId: 's', firstRequest: BigInt(firstRequest), waitTimeout, owner: undefined, purpose: '' };
    const [own] = planAcquireRun(run, 1) as [RunPlan];
    return acquires.startRun(own, listener);
  }

  test('goes to the engine as one command, and those that are granted at once come back together', () => {
    start(3);
    expect(engine.commands).toEqual([['acquires', 's', 1, '', 1, '1', 'name-0', '2', 'name-1', '3', 'name-2']]);
    engine.asked[0]?.(undefined, { ...NOW, each: [11, 12, 13] });
    expect(told).toEqual(['0: 11', '1: 12', '2: 13']);
  });

  test('tells of those that have to wait when it is their turn, also if that was told before they were known to wait', () => {
    start(4);
    engine.emit('granted', 's.2', 21, 2_000, 9_000); // another server was quicker than the reply
    engine.emit('granted', 's.9', 22, 2_000, 9_000); // is none of them
    engine.asked[0]?.(undefined, { ...NOW, each: [11, ['queued', 12, 1_000], ['queued', 13, 1_000], ['contended', []]] });
    expect(told).toEqual(['1: 21', '3: contention', '0: 11']);
    engine.emit('granted', 's.3', 23, 2_000, 9_000);
    expect(told.at(-1)).toBe('2: 23');
  });

  test('takes back one that was cancelled before it was carried out', () => {
    start(3);
    cancelAcquire({ engine: engine as unknown as NamespaceEngine, acquires }, { sessionId: 's', requestId: '2' }, () => {});
    engine.asked[1]?.(undefined, ['none']); // its batch came first
    expect(told).toEqual(['1: CANCELLED']);
    engine.asked[0]?.(undefined, { ...NOW, each: [11, 12, 13] });
    expect(engine.commands.at(-1)).toEqual(['cancel', 's.2', 'server']);
    expect(told).toEqual(['1: CANCELLED', '0: 11', '2: 13']);
  });

  test('whose stream broke before it was answered tells nobody but who comes back', () => {
    const run = start(2);
    if (run) acquires.abandonRun(run);
    engine.asked[0]?.(undefined, { ...NOW, each: [11, ['queued', 12, 1_000]] });
    engine.emit('granted', 's.2', 21, 2_000, 9_000);
    expect(told).toEqual([]);
    expect(start(2)).toBeUndefined(); // who comes back asks for each, and finds it
    expect(start(2, 2)).toBeUndefined();
    expect(start(2, 3)).toBeDefined();
    acquires.start({ ...plan, lockId: 's.2', names: ['name-1'] }, (error, response) => tell('back', error, response));
    engine.asked.at(-1)?.(undefined, ['granted', 21, 2_000, 9_000, 0]);
    expect(told).toEqual(['back: 21']);
  });

  test('is asked for again one by one when a reply may have been lost, and told of once', () => {
    start(2);
    engine.emit('reask');
    expect(engine.commands.slice(1)).toEqual([
      ['acquire', 's', '1', ['name-0'], 1, '', false, 0, 0, 1],
      ['acquire', 's', '2', ['name-1'], 1, '', false, 0, 0, 1],
    ]);
    engine.asked[0]?.(undefined, { ...NOW, each: [11, ['queued', 12, 1_000]] });
    engine.asked[1]?.(undefined, ['granted', 11, 1_000, 9_000, 0]);
    engine.asked[2]?.(undefined, ['queued', 12, 1_000]);
    engine.emit('granted', 's.2', 21, 2_000, 9_000);
    expect(told).toEqual(['0: 11', '1: 21']);
  });

  test('that Redis did not answer fails, each for itself', () => {
    start(2);
    engine.asked[0]?.(new Error('Redis is away'));
    expect(told).toEqual(['0: Redis is away', '1: Redis is away']);
  });

  test('has no more room than acquires have, and gives it back whatever becomes of it', () => {
    expect(start(11)).toBeUndefined();
    for (let i = 0; i < 5; i++) {
      start(10);
      expect(start(1, 50)).toBeUndefined();
      if (i % 2 === 1) engine.emit('granted', 's.2', 21, 2_000, 9_000);
      if (i === 2) engine.asked.at(-1)?.(new Error('Redis is away'));
      else engine.asked.at(-1)?.(undefined, { ...NOW, each: new Array(10).fill(i === 3 ? 31 : ['gone']) });
    }
    expect(engine.commands.filter(([verb]) => verb === 'acquires')).toHaveLength(5);
  });
});
