import type { CallContext } from 'nice-grpc';
import type { Registry as MetricsRegistry } from 'prom-client';
import type { Results } from '../engine/commands.js';
import type { Engine } from '../engine/engine.js';
import type { NamespaceEngine } from '../engine/namespace-engine.js';
import type {
  CallInstanceRequest,
  CallInstanceResponse,
  Instance,
  InstanceServiceImplementation,
  ListInstancesRequest,
  ServeInstanceRequest,
  ServeInstanceResponse,
} from '../gen/stafett/v1/instance.js';
import { invalidField, redisUnavailable } from '../rpc/errors.js';
import { checkPageSize, checkPageToken, isId, toPageToken } from '../rpc/fields.js';
import { generationOf } from '../rpc/generation.js';
import { sessionNotFound } from '../sessions/refusals.js';
import { Answering } from './answering.js';
import { answerPeer } from './forwarding.js';
import { InstanceMetrics } from './instance-metrics.js';
import { InstanceWatch } from './instance-watch.js';
import { InstanceWatches } from './instance-watches.js';
import { PEER_HEADER, type Peers } from './peers.js';
import { instanceNotFound, notAPeer } from './refusals.js';
import { checkFilter, checkRegistration, matches, toInstance } from './registration.js';
import { Registry } from './registry.js';
import { planCall, route } from './router.js';
import { ServedInstance } from './served-instance.js';
import { SpentChunks } from './spent-chunks.js';

/** Pages of the engine that one page of a filtered list may take. */
const PAGES_MAX = 10;

export interface InstanceServiceOptions {
  readonly engine: Engine;
  readonly peers: Peers;
  readonly registry: MetricsRegistry;
  readonly maxCallsPerInstance: number;
  readonly privilegedCalls: boolean;
}

type Context = CallContext & { namespace: string };

interface Namespace {
  readonly engine: NamespaceEngine;
  readonly registry: Registry;
  readonly watches: InstanceWatches;
}

export interface InstanceService extends InstanceServiceImplementation<{ namespace: string }> {
  /** As the RPC; also for HTTP. */
  call(request: CallInstanceRequest, namespace: string, signal: AbortSignal): AsyncIterable<CallInstanceResponse>;
  /** Asks all instances to go to another server. */
  drain(): void;
}

export function createInstanceService(options: InstanceServiceOptions): InstanceService {
  const { engine: engines, peers } = options;
  const { serverId } = engines;
  const metrics = new InstanceMetrics(options.registry);
  const spent = new SpentChunks();
  const answering = new Answering(metrics, spent);
  const known = new Map<string, Namespace>();
  const of = (namespace: string) => known.get(namespace) ?? open(engines.namespace(namespace), peers, known);

  const call = (request: CallInstanceRequest, namespace: string, signal: AbortSignal) => {
    const plan = planCall(request);
    const { engine, registry } = of(namespace);
    return answering.answer(plan, () => route({ engine, registry, serverId, peers }, plan), signal);
  };

  return {
    call,

    drain() {
      for (const { registry } of known.values()) for (const served of registry.all()) served.move();
    },

    serveInstance(requests, context) {
      return serve(requests, context, of(context.namespace), options, metrics);
    },

    async getInstance({ instanceId }, { namespace }) {
      const result = isId(instanceId) ? await of(namespace).engine.run<'instance'>(['instance', instanceId]) : (['none'] as const);
      if (result[0] === 'none') throw instanceNotFound(instanceId.slice(0, 64));
      return { instance: toInstance(result[1]) };
    },

    async listInstances(request, { namespace }) {
      return list(of(namespace).engine, request);
    },

    watchInstances(request, { namespace, signal }) {
      return new InstanceWatch(checkFilter(request)).run(of(namespace).watches, signal);
    },

    callInstance(request, { namespace, signal }) {
      return call(request, namespace, signal);
    },

    forwardCall(requests, { namespace, metadata, signal }) {
      if (!peers.isPeer(metadata.get(PEER_HEADER))) throw notAPeer();
      return answerPeer(of(namespace).registry, requests, signal, spent);
    },
  };
}

function open(engine: NamespaceEngine, peers: Peers, known: Map<string, Namespace>): Namespace {
  engine.events.on('epoch', () => peers.renew());
  const opened = { engine, registry: new Registry(engine), watches: new InstanceWatches(engine) };
  known.set(engine.namespace, opened);
  return opened;
}

/** One stream of an instance, from its registration to its end. */
async function* serve(
  requests: AsyncIterable<ServeInstanceRequest>,
  context: Context,
  { registry }: Namespace,
  { maxCallsPerInstance: maxCalls, privilegedCalls: allowPrivileged }: InstanceServiceOptions,
  metrics: InstanceMetrics,
): AsyncIterable<ServeInstanceResponse> {
  const { signal } = context;
  const iterator = requests[Symbol.asyncIterator]();
  const first = await iterator.next();
  if (first.done || first.value.message?.$case !== 'register') throw invalidField('message', 'the first one must be register');
  const { value: registration } = first.value.message;
  const record = checkRegistration(registration);
  const served = new ServedInstance({ instanceId: registration.sessionId, record, maxCalls, allowPrivileged });
  const outcome = await registry.add(served, JSON.stringify(record), generationOf(context));
  if (outcome === 'gone') throw sessionNotFound(registration.sessionId);
  if (outcome === 'moved') throw redisUnavailable(); // late, by a connection that its client has replaced: nobody hears it
  metrics.connected(1);
  try {
    yield* served.responses({ [Symbol.asyncIterator]: () => iterator }, signal);
  } finally {
    metrics.connected(-1);
    registry.remove(served);
  }
}

/** Looks through so many pages of all instances until there is one of those that are wanted. */
async function list(engine: NamespaceEngine, request: ListInstancesRequest) {
  const filter = checkFilter(request);
  const limit = checkPageSize(request.pageSize);
  let after = checkPageToken(request.pageToken);
  const instances: Instance[] = [];
  for (let page = 0; page < PAGES_MAX && instances.length < limit; page++) {
    const [, views, last]: Results['instances'] = await engine.run<'instances'>(['instances', after, limit - instances.length]);
    instances.push(...(Array.isArray(views) ? views : []).map(toInstance).filter((instance) => matches(filter, instance)));
    after = last;
    if (last === '') break;
  }
  return { instances, nextPageToken: toPageToken(after) };
}
