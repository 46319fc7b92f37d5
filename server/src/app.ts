import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { collectDefaultMetrics, Registry } from 'prom-client';
import { createCacheService } from './caches/cache-service.js';
import { type Address, formatAddress } from './config/types.js';
import type { Config } from './config/variables.js';
import { Engine } from './engine/engine.js';
import { ChannelsByNamespace } from './events/channels-by-namespace.js';
import { createEventService } from './events/event-service.js';
import { addSseGateway } from './events/sse-gateway.js';
import { checkFlag } from './flags/check-flag.js';
import { createEvaluationV1, createEvaluationV2 } from './flags/evaluation-services.js';
import { Flags } from './flags/flags.js';
import { createFlagSyncService } from './flags/sync-service.js';
import { ServiceDefinition as EvaluationV1Definition } from './gen/flagd/evaluation/v1/evaluation.js';
import { ServiceDefinition as EvaluationV2Definition } from './gen/flagd/evaluation/v2/evaluation.js';
import { FlagSyncServiceDefinition } from './gen/flagd/sync/v1/sync.js';
import { CacheServiceDefinition } from './gen/stafett/v1/cache.js';
import { EventServiceDefinition, type SubscribeRequest, type SubscribeResponse } from './gen/stafett/v1/event.js';
import { LockServiceDefinition, type PipelineRequest, type PipelineResponse } from './gen/stafett/v1/lock.js';
import { ProcessServiceDefinition } from './gen/stafett/v1/process.js';
import { SessionServiceDefinition } from './gen/stafett/v1/session.js';
import { SettingServiceDefinition } from './gen/stafett/v1/setting.js';
import { createHttpServer, type Readiness } from './http/server.js';
import { ChunkedInstanceServiceDefinition } from './instances/chunk-codecs.js';
import { addDownloads } from './instances/download.js';
import { createInstanceService } from './instances/instance-service.js';
import { Peers } from './instances/peers.js';
import { createLockService } from './locks/lock-service.js';
import { createProcessService } from './processes/process-service.js';
import { createRedis, missingMasters } from './redis/create-redis.js';
import { type EmbeddedRedis, startEmbeddedRedis } from './redis/embedded.js';
import { addRedisMetrics } from './redis/redis-metrics.js';
import { describeTarget, parseRedisTarget, type RedisTarget, withSentinelLogin } from './redis/target.js';
import { DirectStreams } from './rpc/direct-streams.js';
import { Stopping } from './rpc/draining.js';
import { reportDefect } from './rpc/error-mapping.js';
import { StafettError } from './rpc/errors.js';
import { RpcServer, service } from './rpc/server.js';
import { createSessionService } from './sessions/session-service.js';
import { createSettingService } from './settings/setting-service.js';
import { Settings } from './settings/settings.js';

/** Where a running server is found. */
export interface Addresses {
  readonly grpc: Address;
  readonly http: Address;
  /** Without a password. */
  readonly redis: string;
  readonly redisIsEmbedded: boolean;
}

export interface App {
  /** Serves. @throws {Error} for the operator, when something it needs is missing; nothing is left behind then. */
  start(): Promise<Addresses>;
  /** Tells clients to move, lets calls finish for the drain timeout, and closes everything. Once is enough. */
  stop(): Promise<void>;
}

/** For refusals to reach their callers before connections are cut off, ms. */
const LAST_WORDS_MS = 200;

/** The only place where the parts of the server are put together. */
export function createApp(config: Config, logger: Logger, version: string): App {
  let embedded: EmbeddedRedis | undefined;
  let parts: ReturnType<typeof assemble> | undefined;
  let stopped: Promise<void> | undefined;

  async function start(): Promise<Addresses> {
    if (config.redisTarget === undefined) embedded = await startEmbeddedRedis({ logger });
    const target = withSentinelLogin(config.redisTarget ?? parseRedisTarget((embedded as EmbeddedRedis).url), config);
    parts = assemble(config, logger, version, target);
    await Promise.all([parts.masters.connect(), parts.subscriber.connect()]);
    await parts.settings.start();
    await parts.engine.start();
    parts.settings.openSaved();
    const grpc = { host: config.grpcAddress.host, port: await parts.rpc.listen(config.grpcAddress) };
    await parts.peers.start(formatAddress(config.advertiseAddress ?? reachable(grpc)));
    const http = { host: config.httpAddress.host, port: await parts.http.listen(config.httpAddress) };
    parts.updateHealth();
    return { grpc, http, redis: describeTarget(target), redisIsEmbedded: embedded !== undefined };
  }

  async function shutDown(): Promise<void> {
    if (parts !== undefined) await drain(parts, config.drainTimeoutMs, logger);
    await embedded?.stop();
  }

  async function stop(): Promise<void> {
    stopped ??= shutDown();
    await stopped;
  }

  return {
    stop,
    async start() {
      try {
        return await start();
      } catch (error) {
        await stop();
        throw error;
      }
    },
  };
}

/** An address that listens everywhere is reached by the name of the host. */
function reachable({ host, port }: Address): Address {
  return { host: host === '0.0.0.0' || host === '::' ? hostname() : host, port };
}

type Parts = ReturnType<typeof assemble>;

function assemble(config: Config, logger: Logger, version: string, target: RedisTarget) {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const stopping = new Stopping();
  const redisIsNew = config.redisTarget === undefined || config.redisIsNew;
  const { masters, subscriber } = createRedis(target, logger, redisIsNew);
  addRedisMetrics(registry, masters, subscriber);
  const engine = new Engine({ masters, subscriber, logger, registry, limits: config, maxTtlMs: config.maxTtlMs, redisIsNew });
  const sessions = createSessionService({ engine, maxTtlMs: config.maxTtlMs });
  const toStafettError = (error: Error) => (error instanceof StafettError ? error : reportDefect(logger, 'pipeline', error));
  const pipelines = new DirectStreams<PipelineRequest, PipelineResponse>(`/${LockServiceDefinition.fullName}/Pipeline`, registry);
  const locks = createLockService({ ...config, engine, registry, toStafettError, pipelines });
  const processes = createProcessService({ ...config, engine, registry });
  const settings = new Settings({ ...config, engine, subscriber, logger });
  const flags = { flags: new Flags(settings, logger), flagdNamespace: config.flagdNamespace };

  const channels = new ChannelsByNamespace({ engine, subscriber, registry, ...config, historyRules: config.historyRules ?? [] });
  const streams = new DirectStreams<SubscribeRequest, SubscribeResponse>(`/${EventServiceDefinition.fullName}/Subscribe`, registry);
  const events = createEventService({ channels: (namespace) => channels.of(namespace), limits: config, streams });
  const peers = new Peers({ serverId: engine.serverId, masters, logger });
  const instances = createInstanceService({ ...config, engine, peers, registry });

  const sse = { corsOrigins: config.corsOrigins, heartbeatMs: config.sseHeartbeatMs };

  const readiness = (): Readiness => {
    const reasons = [
      ...(stopping.draining.reached ? ['the server is stopping'] : []),
      ...(masters.all.some(({ ready }) => ready) && subscriber.ready ? [] : ['Redis cannot be reached']),
    ];
    const warnings = missingMasters(masters);
    return { ready: reasons.length === 0, reasons, ...(warnings.length > 0 && { warnings }) };
  };
  const rpc = new RpcServer({ logger, registry, maxMessageBytes: config.maxMessageBytes, stopping, direct: [pipelines, streams] }, [
    service(SessionServiceDefinition, sessions),
    service(LockServiceDefinition, locks),
    service(EventServiceDefinition, events),
    service(ProcessServiceDefinition, processes),
    service(CacheServiceDefinition, createCacheService({ ...config, channels })),
    service(SettingServiceDefinition, createSettingService({ ...config, settings, check: checkFlag })),
    service(EvaluationV1Definition, createEvaluationV1(flags)),
    service(EvaluationV2Definition, createEvaluationV2(flags)),
    service(FlagSyncServiceDefinition, createFlagSyncService(flags)),
    service(ChunkedInstanceServiceDefinition, instances),
  ]);
  const http = createHttpServer({
    logger,
    registry,
    version,
    readiness,
    addRoutes: (app) => {
      addSseGateway(app, { channels: (namespace) => channels.of(namespace), logger, draining: stopping.draining, ...sse });
      addDownloads(app, { logger, call: instances.call, stopping });
    },
  });
  const updateHealth = () => rpc.health.set(readiness().ready);
  masters.onChange(updateHealth);
  subscriber.onStateChange(updateHealth);
  return { masters, subscriber, engine, sessions, instances, peers, settings, processes, rpc, http, stopping, updateHealth };
}

/** From the outside inwards: nobody new, those inside to the end, then what they stood on. */
async function drain(parts: Parts, timeoutMs: number, logger: Logger): Promise<void> {
  const { masters, subscriber, engine, sessions, instances, peers, settings, processes, rpc, http, stopping } = parts;
  rpc.health.set(false); // before the abort, so that watchers of the health still hear of it
  stopping.drain();
  sessions.drain();
  instances.drain();
  processes.drain();
  const finished = stopping
    .idle()
    .then(() => rpc.shutdown())
    .then(() => true);
  if (!(await within(finished, timeoutMs))) {
    logger.warn({ timeoutMs }, 'calls are still under way at the drain timeout, and are told to go elsewhere');
    stopping.close();
    if (!(await within(finished, LAST_WORDS_MS))) rpc.forceShutdown();
  }
  await settings.close();
  engine.close();
  peers.close();
  masters.close();
  subscriber.close();
  await http.close();
}

async function within(finished: Promise<boolean>, ms: number): Promise<boolean> {
  const enough = new AbortController();
  const late = sleep(ms, false, { signal: enough.signal }).catch(() => false);
  const result = await Promise.race([finished, late]);
  enough.abort();
  return result;
}
