import { setImmediate as tick } from 'node:timers/promises';
import { beforeEach, describe, expect, test } from 'vitest';
import { StafettError } from '../../clients/typescript/src/errors.js';
import type { PipelineCommand, PipelineResult } from '../../clients/typescript/src/gen/stafett/v1/lock.js';
import { SessionLife } from '../../clients/typescript/src/life.js';
import type { Link } from '../../clients/typescript/src/link.js';
import { Pipeline } from '../../clients/typescript/src/pipeline.js';
import type { Times } from '../../clients/typescript/src/waiting-room.js';
import { FakeLink } from '../support/fake-link.js';

const FOREVER: Times = { askedAt: 0, waitUntil: Number.POSITIVE_INFINITY };

let pipeline: Pipeline;
let life: SessionLife;
let link: FakeLink;

beforeEach(() => {
  pipeline = new Pipeline();
  life = new SessionLife({
    id: 's',
    ttlMs: 60_000,
    safetyMarginMs: 1_000,
    epoch: 'e',
    sentAt: performance.now(),
    onLost: (of, reason) => pipeline.failAll(of, reason),
  });
  link = attach();
});

function attach(): FakeLink {
  const next = new FakeLink();
  pipeline.attach(next as unknown as Link);
  return next;
}

function detach(): void {
  link.break(new Error('the network failed'));
  pipeline.detach();
}

function acquire(name: string, { times = FOREVER, signal }: { times?: Times; signal?: AbortSignal } = {}) {
  const request = {
    names: [name],
    sessionId: life.id,
    ttl: undefined,
    epoch: 'e',
    waitTimeout: undefined,
    requestId: life.nextRequestId(),
    owner: undefined,
    purpose: '',
    heldLockIds: [],
  };
  const answer = pipeline.acquire(life, request, times, signal);
  answer.catch(() => {});
  return answer;
}

/** What each command is about: `acquire a`, `release s.1`, `cancel 1`. */
function describeCommand({ command }: PipelineCommand): string {
  if (command?.$case === 'acquire') return `acquire ${command.value.names}`;
  if (command?.$case === 'release') return `release ${command.value.lockId}`;
  return `cancel ${command?.$case === 'cancel' ? command.value.requestId : '?'}`;
}

function grantOf({ id, command }: PipelineCommand): PipelineResult {
  const names = command?.$case === 'acquire' ? command.value.names : [];
  const grant = { lockId: `s.${id}`, names, fencingToken: id, acquireTime: undefined, expireTime: undefined, ttl: undefined, epoch: 'e' };
  return { id, result: { $case: 'acquire', value: { outcome: { $case: 'grant', value: grant } } } };
}

function errorOf({ id }: PipelineCommand, code: number, reason: number, retryMs?: number): PipelineResult {
  const retryDelay = retryMs === undefined ? undefined : { seconds: 0n, nanos: retryMs * 1e6 };
  return { id, result: { $case: 'error', value: { code, reason, message: 'no', metadata: {}, retryDelay } } };
}

describe('batches', () => {
  test('what is asked in one tick, and in the microtasks after it, is one message', async () => {
    void acquire('a');
    void acquire('b');
    await Promise.resolve().then(() => Promise.resolve());
    void acquire('c');
    await tick();
    expect(link.messages.map((message) => message.map(describeCommand))).toEqual([['acquire a', 'acquire b', 'acquire c']]);
  });

  test('what is asked while the stream takes no more is one message, as soon as it does', async () => {
    link.full = true;
    void acquire('a');
    await tick();
    void acquire('b');
    await tick();
    void acquire('c');
    await tick();
    expect(link.messages).toHaveLength(1);
    await link.takeMore();
    expect(link.messages.map((message) => message.length)).toEqual([1, 2]);
  });

  test('are bounded in number and in bytes, and keep the order', async () => {
    for (let i = 0; i < 1_500; i++) void pipeline.release(life, `s.${i}`);
    await tick();
    expect(link.messages.length).toBeGreaterThan(1);
    expect(Math.max(...link.messages.map((message) => message.length))).toBeLessThanOrEqual(1_000);
    expect(link.commands.map(describeCommand)).toEqual(Array.from({ length: 1_500 }, (_, i) => `release s.${i}`));
    const before = link.messages.length;
    for (let i = 0; i < 100; i++) void acquire('x'.repeat(3_000));
    await tick();
    expect(Math.max(...link.messages.slice(before).map((message) => message.length))).toBeLessThan(10);
    expect(link.commands).toHaveLength(1_600);
  });
});

describe('answers', () => {
  test('in any order go to those who asked', async () => {
    const answers = [acquire('a'), acquire('b')];
    await tick();
    await link.answer(...link.commands.map(grantOf).reverse());
    const outcomes = (await Promise.all(answers)).map(({ outcome }) => outcome?.$case === 'grant' && outcome.value.names);
    expect(outcomes).toEqual([['a'], ['b']]);
    expect(pipeline.acquires).toBe(0);
  });

  test('errors are for the one who asked', async () => {
    const [refused, other] = [acquire('a'), acquire('b')];
    await tick();
    await link.answer(errorOf(link.commands[0] as PipelineCommand, 10, 6));
    await expect(refused).rejects.toMatchObject({ code: 'ABORTED', reason: 'DEADLOCK' });
    await link.answer(grantOf(link.commands[1] as PipelineCommand));
    await other;
    expect(link.broken.aborted).toBe(false);
  });

  test('that nobody waits for are ignored', async () => {
    await link.answer({ id: 99n, result: { $case: 'release', value: {} } }, { id: 98n, result: undefined });
    expect(link.broken.aborted).toBe(false);
  });
});

describe('a link that breaks', () => {
  test('what was not answered is asked again on the next one: what takes back first, the rest in its order', async () => {
    const first = acquire('a');
    void acquire('b');
    void pipeline.release(life, 's.9');
    await tick();
    await link.answer(grantOf(link.commands[0] as PipelineCommand));
    await first;
    detach();
    void acquire('c');
    link = attach();
    await tick();
    expect(link.commands.map(describeCommand)).toEqual(['release s.9', 'acquire b', 'acquire c']);
  });

  test('an acquire is the same request again, with what is left of its time', async () => {
    const now = performance.now();
    void acquire('a', { times: { askedAt: now, waitUntil: now + 60_000 } });
    await tick();
    const [before] = link.commands;
    detach();
    link = attach();
    await tick();
    const [after] = link.commands;
    if (before?.command?.$case !== 'acquire' || after?.command?.$case !== 'acquire') throw new Error('no acquires');
    expect(after.command.value.requestId).toBe(before.command.value.requestId);
    const left = ({ waitTimeout }: { waitTimeout: { seconds: bigint; nanos: number } | undefined }) =>
      Number(waitTimeout?.seconds) * 1e9 + Number(waitTimeout?.nanos);
    expect(left(after.command.value)).toBeLessThan(left(before.command.value));
    expect(left(after.command.value)).toBeGreaterThan(50e9);
  });

  test('nobody waits for the confirmation of a release', async () => {
    const release = pipeline.release(life, 's.1');
    await tick();
    detach();
    await release;
    await pipeline.release(life, 's.2');
    link = attach();
    await tick();
    expect(link.commands.map(describeCommand)).toEqual(['release s.1', 'release s.2']);
  });

  test('UNAVAILABLE as an answer breaks it, and the command stays', async () => {
    const answer = acquire('a');
    await tick();
    await link.answer(errorOf(link.commands[0] as PipelineCommand, 14, 12, 500));
    expect(link.broken.reason).toMatchObject({ reason: 'REDIS_UNAVAILABLE', retryDelayMs: 500 });
    pipeline.detach();
    link = attach();
    await tick();
    await link.answer(grantOf(link.commands[0] as PipelineCommand));
    await answer;
  });

  test('a release must get through: the limit of a stream does not end it', async () => {
    void pipeline.release(life, 's.1');
    await tick();
    await link.answer(errorOf(link.commands[0] as PipelineCommand, 8, 11, 100));
    expect(link.broken.aborted).toBe(true);
    pipeline.detach();
    link = attach();
    await tick();
    expect(link.commands.map(describeCommand)).toEqual(['release s.1']);
  });
});

describe('giving up', () => {
  test('what no server has room for is refused; and taken back, if another one may have queued it', async () => {
    const [old, fresh] = [acquire('a'), acquire('b')];
    await tick();
    await link.answer(errorOf(link.commands[1] as PipelineCommand, 8, 40, 100));
    await expect(fresh).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED', reason: 'SERVER_FULL', retryDelayMs: 100 });
    detach();
    link = attach();
    await tick();
    await link.answer(errorOf(link.commands[0] as PipelineCommand, 8, 40, 100));
    await expect(old).rejects.toMatchObject({ reason: 'SERVER_FULL' });
    await tick();
    expect(link.commands.map(describeCommand)).toEqual(['acquire a', 'cancel 1']);
  });

  test('an abort takes back what the server may have made of it', async () => {
    const controller = new AbortController();
    const answer = acquire('a', { signal: controller.signal });
    await tick();
    controller.abort(new Error('enough'));
    await expect(answer).rejects.toThrow('enough');
    await tick();
    expect(link.commands.map(describeCommand)).toEqual(['acquire a', 'cancel 1']);
    await link.answer(...link.commands.slice(0, 1).map(grantOf)); // came too late
    expect(pipeline.acquires).toBe(0);
  });

  test('what was never sent needs no taking back', async () => {
    detach();
    const controller = new AbortController();
    const answer = acquire('a', { signal: controller.signal });
    controller.abort();
    await expect(answer).rejects.toBe(controller.signal.reason);
    link = attach();
    await tick();
    expect(link.commands).toEqual([]);
  });

  test('an abort after the answer changes nothing', async () => {
    const controller = new AbortController();
    const answer = acquire('a', { signal: controller.signal });
    await tick();
    await link.answer(...link.commands.map(grantOf));
    controller.abort();
    await answer;
    await tick();
    expect(link.commands).toHaveLength(1);
  });

  test('who waits too long for a connection is refused, and what was sent is taken back later', async () => {
    const [sent, times] = [acquire('a'), { askedAt: 0, waitUntil: 5 }];
    await tick();
    detach();
    const unsent = acquire('b', { times });
    const stays = acquire('c');
    const error = new StafettError('UNAVAILABLE', 'CONNECTION_FAILED', 'nobody there');
    pipeline.sweep(
      (of) => of === times,
      () => error,
    );
    await expect(unsent).rejects.toBe(error);
    pipeline.sweep(
      (of) => of === FOREVER,
      () => error,
    );
    await expect(sent).rejects.toBe(error);
    await expect(stays).rejects.toBe(error);
    link = attach();
    await tick();
    expect(link.commands.map(describeCommand)).toEqual(['cancel 1']);
  });

  test('with the session everything ends: nothing of it needs to be taken back', async () => {
    const answer = acquire('a');
    const release = pipeline.release(life, 's.9');
    detach();
    const reason = new StafettError('FAILED_PRECONDITION', 'SESSION_LOST', 'lost');
    life.lose(reason);
    await expect(answer).rejects.toBe(reason);
    await release;
    await pipeline.release(life, 's.8');
    link = attach();
    await tick();
    expect(link.commands).toEqual([]);
  });

  test('100,000 acquires may wait; the next is refused, but what takes back is not', async () => {
    for (let i = 0; i < 100_000; i++) void acquire('a');
    await expect(acquire('a')).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED', reason: 'TOO_MANY_PENDING' });
    void pipeline.release(life, 's.1');
    await tick();
    expect(link.commands.length).toBe(100_001);
  });
});
