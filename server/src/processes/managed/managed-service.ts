import { randomBytes } from 'node:crypto';
import type { CallContext } from 'nice-grpc';
import type { Registry } from 'prom-client';
import type { Engine } from '../../engine/engine.js';
import type { ProcessServiceImplementation, WatchProcessRequest } from '../../gen/stafett/v1/process.js';
import { checkDuration, checkPageSize, checkPageToken, toPageToken } from '../../rpc/fields.js';
import { generationOf } from '../../rpc/generation.js';
import { ManagedProcesses } from './managed-processes.js';
import { NodeStream } from './node-stream.js';
import { checkProcessName, planUpdate } from './process-checks.js';
import { ProcessMetrics } from './process-metrics.js';
import { toClusterState, toConfig, toSummary } from './process-views.js';
import { ProcessWatch } from './process-watch.js';
import { processInUse, processNotFound, revisionMismatch } from './refusals.js';
import { list, toSnapshot } from './snapshot.js';

const WATCH_TIMEOUT_MS_MAX = 24 * 24 * 60 * 60 * 1_000;

export interface ManagedServiceOptions {
  readonly engine: Engine;
  readonly registry: Registry;
  readonly maxProcesses: number;
  readonly maxWorkers: number;
}

type Context = CallContext & { namespace: string };
type ManagedMethods = 'joinProcess' | 'getProcess' | 'listProcesses' | 'updateProcess' | 'deleteProcess' | 'watchProcess';
export type ManagedService = Pick<ProcessServiceImplementation<{ namespace: string }>, ManagedMethods>;

/** The part of ProcessService that is about managed processes. */
export function createManagedService(options: ManagedServiceOptions): ManagedService {
  const { maxWorkers, maxProcesses } = options;
  const of = namespaces(options);

  return {
    joinProcess(requests, context) {
      const processes = of(context);
      const generation = generationOf(context);
      const stream = new NodeStream({ engine: processes.engine, processes, generation, maxWorkers, maxProcesses });
      return stream.run(requests, context.signal);
    },

    async getProcess({ name }, context) {
      checkProcessName(name);
      const { engine } = of(context);
      const snapshot = toSnapshot(name, await engine.run<'process'>(['process', name, 0]), engine.epoch.id);
      if (!snapshot.config) throw processNotFound(name);
      return { state: toClusterState(snapshot) };
    },

    async listProcesses(request, context) {
      const limit = checkPageSize(request.pageSize);
      const after = checkPageToken(request.pageToken);
      const [, views, last] = await of(context).engine.run<'processes'>(['processes', after, limit]);
      return { processes: list(views).map(toSummary), nextPageToken: toPageToken(last) };
    },

    async updateProcess(request, context) {
      const { workers, running, onlyRevision } = planUpdate(request, maxWorkers);
      const { name } = request;
      const { engine, memory } = of(context);
      const updateId = randomBytes(9).toString('base64url'); // the command may be sent twice
      const command = ['configure', name, workers, running, onlyRevision, updateId, memory.recall(name)] as const;
      const result = await engine.run<'configure'>([...command]);
      if (result[0] === 'none') throw processNotFound(name);
      if (result[0] === 'mismatch') throw revisionMismatch(name, onlyRevision, result[1]);
      memory.learn(name, result[1]);
      return { config: toConfig(result[1]) };
    },

    async deleteProcess({ name }, context) {
      checkProcessName(name);
      const { engine, memory } = of(context);
      const result = await engine.run<'forget'>(['forget', name]);
      if (result[0] === 'none') throw processNotFound(name);
      if (result[0] === 'in_use') throw processInUse(name, result[1], result[2]);
      memory.forget(name);
      return {};
    },

    watchProcess(request, context) {
      return watchProcess(of(context), request, context.signal);
    },
  };
}

/** All namespaces that the engine knows, for each server remembers the configs of all of them. */
function namespaces({ engine: all, registry }: ManagedServiceOptions): (context: Context) => ManagedProcesses {
  const metrics = new ProcessMetrics(registry);
  const known = new Map<string, ManagedProcesses>();
  all.onOpen((engine) => known.set(engine.namespace, new ManagedProcesses(engine, metrics)));
  return ({ namespace }) => {
    all.namespace(namespace);
    return known.get(namespace) as ManagedProcesses;
  };
}

async function* watchProcess(processes: ManagedProcesses, { name, timeout }: WatchProcessRequest, signal: AbortSignal) {
  checkProcessName(name);
  const timeoutMs = timeout && checkDuration('timeout', timeout, 0, WATCH_TIMEOUT_MS_MAX);
  const watch = new ProcessWatch();
  const stop = () => watch.end();
  signal.addEventListener('abort', stop);
  const timer = timeoutMs === undefined ? undefined : setTimeout(stop, timeoutMs);
  const process = processes.open(name);
  process.add(watch);
  try {
    yield* watch.states();
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
    processes.remove(process, watch);
  }
}
