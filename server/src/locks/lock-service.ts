import type { CallContext } from 'nice-grpc';
import type { Registry } from 'prom-client';
import { DeadlineQueue } from '../deadline-queue.js';
import type { Engine } from '../engine/engine.js';
import type { NamespaceEngine } from '../engine/namespace-engine.js';
import type {
  AcquireResponse,
  ForceReleaseRequest,
  ListLocksRequest,
  LockServiceImplementation,
  Owner,
  PipelineRequest,
  PipelineResponse,
  WaitForUnlockRequest,
} from '../gen/stafett/v1/lock.js';
import type { DirectStreams } from '../rpc/direct-streams.js';
import type { StafettError } from '../rpc/errors.js';
import {
  checkDuration,
  checkName,
  checkNames,
  checkNotReserved,
  checkPageSize,
  checkPageToken,
  checkText,
  toPageToken,
} from '../rpc/fields.js';
import { generationOf } from '../rpc/generation.js';
import { Turns } from '../rpc/turns.js';
import { type AcquirePlan, planAcquire } from './acquire-plan.js';
import { Acquires } from './acquires.js';
import { Admission } from './admission.js';
import { cancelAcquire, extend, release } from './lock-commands.js';
import { LockMetrics } from './lock-metrics.js';
import { toLock, toPastHolder } from './lock-views.js';
import type { AcquireListener } from './pending-acquire.js';
import { Pipeline } from './pipeline.js';
import { lockNotHeld } from './refusals.js';
import { Unlocks } from './unlocks.js';

const WATCH_TIMEOUT_MS_MAX = 24 * 24 * 60 * 60 * 1_000;

export interface LockServiceOptions {
  readonly engine: Engine;
  readonly registry: Registry;
  readonly maxTtlMs: number;
  readonly maxCommandsPerStream: number;
  readonly maxPendingAcquires: number;
  readonly maxPendingBytes: number;
  readonly resumeWindowMs: number;
  /** For what is a defect of ours: logs it and says so to the caller. */
  toStafettError(error: Error): StafettError;
  /** What carries the messages of pipelines. */
  readonly pipelines: DirectStreams<PipelineRequest, PipelineResponse>;
}

type Context = CallContext & { namespace: string };

interface Namespace {
  readonly engine: NamespaceEngine;
  readonly acquires: Acquires;
  readonly unlocks: Unlocks;
}

export function createLockService(options: LockServiceOptions): LockServiceImplementation<{ namespace: string }> {
  const { maxTtlMs } = options;
  const metrics = new LockMetrics(options.registry);
  const of = namespaces(options, metrics);
  const turns = new Turns();

  return {
    async acquire(request, context) {
      return acquire(of(context).acquires, planAcquire(request, maxTtlMs, callerOf(context)), context.signal);
    },

    async extend(request, context) {
      return callback((done) => extend(of(context).engine, maxTtlMs, request, done));
    },

    async release(request, context) {
      await callback<undefined>((done) => release(of(context).engine, metrics, request, done));
      return {};
    },

    async cancelAcquire(request, context) {
      await callback<undefined>((done) => cancelAcquire(of(context), request, done));
      return {};
    },

    waitForUnlock(request, context) {
      return waitForUnlock(of(context).unlocks, request, context.signal);
    },

    pipeline(requests, context) {
      const { engine, acquires } = of(context);
      const { maxCommandsPerStream: maxInFlight, toStafettError } = options;
      const caller = callerOf(context);
      const generation = generationOf(context);
      const parts = { engine, acquires, metrics, turns, maxTtlMs, maxInFlight, caller, generation, toStafettError };
      const pipeline = new Pipeline(parts, options.pipelines.of(context));
      return pipeline.run(requests, context.signal);
    },

    async getLock({ name }, context) {
      checkName('name', name);
      const [, view, waiters, history] = await of(context).engine.run<'inspect'>(['inspect', name]);
      return { lock: toLock(view, waiters, history) };
    },

    async listLocks(request, context) {
      return listLocks(of(context).engine, request);
    },

    async forceRelease(request, context) {
      return forceRelease(of(context).engine, request);
    },
  };
}

function namespaces(options: LockServiceOptions, metrics: LockMetrics): (context: Context) => Namespace {
  const { engine: all, resumeWindowMs } = options;
  const admission = new Admission(options, options.registry);
  const deadlines = new DeadlineQueue();
  const known = new Map<string, Namespace>();
  return ({ namespace }) => {
    const found = known.get(namespace);
    if (found) return found;
    const engine = all.namespace(namespace);
    const acquires = new Acquires({ engine, serverId: all.serverId, deadlines, resumeWindowMs, metrics, admission });
    const opened = { engine, acquires, unlocks: new Unlocks(engine) };
    known.set(namespace, opened);
    return opened;
  };
}

function callerOf({ peer, metadata }: Context): Owner {
  return { host: peer, thread: '', client: metadata.get('user-agent')?.slice(0, 100) ?? '', traceId: '' };
}

/** Waits for the answer; a caller that goes away meanwhile leaves the queues. */
function acquire(acquires: Acquires, plan: AcquirePlan, signal: AbortSignal): Promise<AcquireResponse> {
  return new Promise((resolve, reject) => {
    const listener: AcquireListener = (error, response) => {
      signal.removeEventListener('abort', onAbort);
      if (error || !response) reject(error);
      else resolve(response);
    };
    const onAbort = () => {
      acquires.leave(plan.lockId, listener);
      reject(signal.reason);
    };
    signal.throwIfAborted();
    signal.addEventListener('abort', onAbort, { once: true });
    acquires.start(plan, listener);
  });
}

function callback<T>(action: (done: (error: Error | undefined, value?: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    action((error, value) => (error ? reject(error) : resolve(value as T)));
  });
}

async function* waitForUnlock(unlocks: Unlocks, request: WaitForUnlockRequest, signal: AbortSignal) {
  checkNames(request.names);
  const timeoutMs = request.timeout && checkDuration('timeout', request.timeout, 0, WATCH_TIMEOUT_MS_MAX);
  const enough = new AbortController();
  const stop = () => enough.abort();
  signal.addEventListener('abort', stop);
  const timer = timeoutMs === undefined ? undefined : setTimeout(stop, timeoutMs);
  try {
    yield* unlocks.watch(request.names, enough.signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
  }
}

async function listLocks(engine: NamespaceEngine, request: ListLocksRequest) {
  checkText('prefix', request.prefix);
  const after = checkPageToken(request.pageToken);
  const limit = checkPageSize(request.pageSize);
  const [, views, last] = await engine.run<'list'>(['list', request.prefix, after, limit, request.activeOnly ? 1 : 0]);
  const locks = (Array.isArray(views) ? views : []).map((view) => toLock(view));
  return { locks, nextPageToken: toPageToken(last) };
}

async function forceRelease(engine: NamespaceEngine, { name, fencingToken }: ForceReleaseRequest) {
  checkName('name', name);
  checkNotReserved('name', name);
  const result = await engine.run<'force'>(['force', name, Number(fencingToken)]);
  if (result[0] === 'not_held') throw lockNotHeld('', result[2], result[3]);
  return { previous: result[0] === 'forced' ? toPastHolder(result[1]) : undefined };
}
