import type { CallContext } from 'nice-grpc';
import type { Results } from '../../engine/commands.js';
import type { Engine } from '../../engine/engine.js';
import type { NamespaceEngine } from '../../engine/namespace-engine.js';
import type { RunView } from '../../engine/run-commands.js';
import type { ProcessServiceImplementation } from '../../gen/stafett/v1/process.js';
import {
  type ListRunsRequest,
  type ReportRunRequest,
  RunStatus,
  type StartOrGetStatusRequest,
  type StartOrGetStatusResponse,
} from '../../gen/stafett/v1/run.js';
import { gracePeriod, invalidField } from '../../rpc/errors.js';
import { checkPageSize, checkPageToken, toPageToken } from '../../rpc/fields.js';
import { generationOf } from '../../rpc/generation.js';
import { sessionNotFound } from '../../sessions/refusals.js';
import { noRunner, runNotCurrent, runNotFound, startedTooLate, tooManyRuns } from './refusals.js';
import { checkRef, checkRunId, checkType, planClaim, planReport, planStart } from './run-checks.js';
import { toListedRun, toRunState } from './run-views.js';
import { RunWatches } from './run-watches.js';
import { Runners } from './runners.js';

/** How soon to ask again for a session that is about to be asserted, ms. */
const UNCONFIRMED_RETRY_MS = 250;

type Context = CallContext & { namespace: string };
type Implementation = ProcessServiceImplementation<{ namespace: string }>;
type RunMethods = Pick<
  Implementation,
  'startOrGetStatus' | 'reportRun' | 'watchRun' | 'cancelRun' | 'getRun' | 'listRuns' | 'serveRuns' | 'assertRun'
>;

export interface RunService {
  readonly methods: RunMethods;
  /** Asks all nodes to go to another server. */
  drain(): void;
}

interface Namespace {
  readonly engine: NamespaceEngine;
  readonly watches: RunWatches;
  readonly runners: Runners;
}

/** Ad-hoc processes. */
export function createRunService(all: Engine): RunService {
  const known = new Map<string, Namespace>();
  const of = ({ namespace }: Pick<Context, 'namespace'>): Namespace => {
    const found = known.get(namespace);
    if (found) return found;
    const engine = all.namespace(namespace);
    const opened = { engine, watches: new RunWatches(engine), runners: new Runners(engine, all.serverId) };
    known.set(namespace, opened);
    return opened;
  };
  return {
    methods: runMethods(of),
    drain() {
      for (const { runners } of known.values()) runners.drain();
    },
  };
}

function runMethods(of: (context: Context) => Namespace): RunMethods {
  return {
    async startOrGetStatus(request, context) {
      return start(of(context).engine, request, generationOf(context));
    },

    async reportRun(request, context) {
      return report(of(context).engine, request);
    },

    async *watchRun(request, context) {
      for await (const view of of(context).watches.watch(checkRef(request), context.signal)) yield { state: toRunState(view) };
    },

    async cancelRun({ runId, ...named }, context) {
      const ref = checkRef(named);
      const run = runId === '' ? 0 : checkRunId('run_id', runId);
      return { state: toRunState(found(ref, await of(context).engine.run<'cancel_run'>(['cancel_run', ref, run]))) };
    },

    async getRun(request, context) {
      const ref = checkRef(request);
      return { state: toRunState(found(ref, await of(context).engine.run<'get_run'>(['get_run', ref]))) };
    },

    async listRuns(request, context) {
      return list(of(context).engine, request);
    },

    serveRuns(requests, context) {
      return of(context).runners.serve(requests, context.signal);
    },

    async assertRun(request, context) {
      const claim = planClaim(request);
      const [, , ref, run] = claim;
      const [outcome] = await of(context).engine.run<'claim_run'>(claim, true);
      if (outcome === 'gone' || outcome === 'conflict') throw runNotCurrent(ref, String(run), false);
      return {};
    },
  };
}

async function start(engine: NamespaceEngine, request: StartOrGetStatusRequest, generation: number): Promise<StartOrGetStatusResponse> {
  const command = planStart(request, generation);
  const result = await engine.run<'start_run'>(command);
  const { id: epoch } = engine.epoch;
  if (result[0] === 'run') return { state: toRunState(result[1]), started: result[2] === 1, epoch };
  if (result[0] === 'none') return { state: undefined, started: false, epoch };
  throw startRefusal(result, request);
}

function startRefusal(result: Results['start_run'], { sessionId, type }: StartOrGetStatusRequest): Error {
  switch (result[0]) {
    case 'grace':
      return gracePeriod(result[1]);
    case 'unconfirmed':
      return gracePeriod(UNCONFIRMED_RETRY_MS);
    case 'moved':
      return startedTooLate();
    case 'gone':
      return sessionNotFound(sessionId);
    case 'no_runner':
      return noRunner(type);
    case 'too_many_runs':
      return tooManyRuns();
    default:
      throw new Error(`no refusal: ${result[0]}`);
  }
}

async function report(engine: NamespaceEngine, request: ReportRunRequest) {
  const command = planReport(request);
  const result = await engine.run<'report_run'>(command);
  if (result[0] === 'unconfirmed') throw gracePeriod(UNCONFIRMED_RETRY_MS);
  if (result[0] === 'stale') throw runNotCurrent(command[2], request.runId, result[1]);
  return { cancelRequested: result[1] === 1 };
}

function found(ref: string, result: Results['get_run']): RunView {
  if (result[0] === 'none') throw runNotFound(ref);
  if (result[0] === 'grace') throw gracePeriod(result[1]);
  return result[1];
}

async function list(engine: NamespaceEngine, request: ListRunsRequest) {
  if (request.type !== '') checkType('type', request.type);
  if (RunStatus[request.status] === undefined) throw invalidField('status', 'is none that this server knows');
  const limit = checkPageSize(request.pageSize);
  const after = checkPageToken(request.pageToken);
  const [, views, last] = await engine.run<'list_runs'>(['list_runs', request.type, after, limit, request.status]);
  return { runs: (Array.isArray(views) ? views : []).map(toListedRun), nextPageToken: toPageToken(last) };
}
