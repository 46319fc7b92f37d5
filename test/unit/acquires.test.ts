import { EventEmitter } from 'node:events';
import { Status } from 'nice-grpc-common';
import { Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { DeadlineQueue } from '../../server/src/deadline-queue.js';
import type { NamespaceEngine } from '../../server/src/engine/namespace-engine.js';
import type { AcquireResponse } from '../../server/src/gen/stafett/v1/lock.js';
import type { AcquirePlan } from '../../server/src/locks/acquire-plan.js';
import { Acquires } from '../../server/src/locks/acquires.js';
import { Admission } from '../../server/src/locks/admission.js';
import { cancelAcquire } from '../../server/src/locks/lock-commands.js';
import { LockMetrics } from '../../server/src/locks/lock-metrics.js';

type Done = (error: Error | undefined, result?: unknown[]) => void;

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
