import { createServer, type ServiceImplementation, type TsProtoServiceDefinition } from 'nice-grpc';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { type Address, formatAddress } from '../config/types.js';
import { accessLog } from './access-log.js';
import type { DirectStreams } from './direct-streams.js';
import { endAllWhen, endCallsWhen, refuseWhen, type Stopping } from './draining.js';
import { mapErrors } from './error-mapping.js';
import { Health, HealthDefinition } from './health.js';
import { rpcMetrics } from './metrics.js';
import { type NamespaceContext, withNamespace } from './namespace.js';
import { createReflection, REFLECTION_V1, REFLECTION_V1ALPHA } from './reflection.js';
import { makeCodecsStrict, refuseMalformed, strictDefinition } from './strict-decoding.js';

export interface RpcServerOptions {
  readonly logger: Logger;
  readonly registry: Registry;
  readonly maxMessageBytes: number;
  readonly stopping: Stopping;
  /** Of the methods whose messages go past the middlewares. */
  readonly direct?: readonly Pick<DirectStreams<never, never>, 'interceptor'>[];
}

interface Service {
  readonly definition: TsProtoServiceDefinition;
  readonly implementation: ServiceImplementation<TsProtoServiceDefinition, NamespaceContext>;
}

/** The types of a definition and its implementation fit each other here; in a list they no longer can be told to. */
export function service<Definition extends TsProtoServiceDefinition>(
  definition: Definition,
  implementation: ServiceImplementation<Definition, NamespaceContext>,
): Service {
  return { definition, implementation: implementation as Service['implementation'] };
}

/**
 * A half-open connection is found, and the waiters on it leave their queues, within the sum of these, ms. A process that stands still, for a heap
 * snapshot say, keeps its connection for as long as the second.
 */
const PING_AFTER_MS = 5_000;
const PING_TIMEOUT_MS = 8_000;
/** Unary acquires wait on a stream each. Those who wait in thousands use a pipeline, or more than one connection. */
const STREAMS_PER_CONNECTION_MAX = 10_000;

export class RpcServer {
  readonly health: Health;
  readonly #server: ReturnType<typeof createServer>;

  constructor(options: RpcServerOptions, services: readonly Service[]) {
    makeCodecsStrict();
    const { logger, registry, stopping } = options;
    const names = services.map(({ definition }) => definition.fullName);
    this.health = new Health(names);
    // The first is the outermost: log and metrics see the status that the caller gets. Each async generator among them
    // costs each message of a stream a few µs; those that only look at the beginning of a call are plain functions.
    this.#server = createServer(channelOptions(options)).use(accessLog(logger)).use(rpcMetrics(registry)).use(mapErrors(logger));
    for (const { definition, implementation } of services) {
      this.#server
        .with(refuseWhen(stopping.draining))
        .with(refuseMalformed)
        .with(withNamespace)
        .with(endCallsWhen(stopping))
        .add(strictDefinition(definition), implementation as never);
    }
    const bystanders = this.#server.with(endAllWhen(stopping));
    bystanders.add(HealthDefinition, this.health.service);
    const reflection = createReflection([...names, 'grpc.health.v1.Health']);
    bystanders.add(REFLECTION_V1, reflection);
    bystanders.add(REFLECTION_V1ALPHA, reflection);
  }

  /**
   * Begins to serve and tells the port, which matters if the address asked for any free one.
   * @throws {Error} for the operator, when the address cannot be used.
   */
  async listen(address: Address): Promise<number> {
    try {
      return await this.#server.listen(formatAddress(address));
    } catch (error) {
      const problem = (error as Error).message;
      throw new Error(`cannot listen on STAFETT_GRPC_ADDRESS ${formatAddress(address)}: ${problem}`, { cause: error });
    }
  }

  /**
   * Takes no more connections, and closes those that there are. Resolves when the calls that are under way have ended. Not before they have, if they
   * are to: grpc-js destroys a closed connection at its next ping, with all that goes on there.
   */
  shutdown(): Promise<void> {
    return this.#server.shutdown();
  }

  /** Cuts off what is still under way: its callers see CANCELLED. */
  forceShutdown(): void {
    this.#server.forceShutdown();
  }
}

function channelOptions({ maxMessageBytes, direct = [] }: RpcServerOptions) {
  return {
    interceptors: direct.map(({ interceptor }) => interceptor),
    'grpc.max_receive_message_length': maxMessageBytes,
    // Answers are bounded by page sizes and batch sizes; a list of big locks may still exceed the limit for requests.
    'grpc.max_send_message_length': -1,
    'grpc.keepalive_time_ms': PING_AFTER_MS,
    'grpc.keepalive_timeout_ms': PING_TIMEOUT_MS,
    'grpc.max_concurrent_streams': STREAMS_PER_CONNECTION_MAX,
  };
}
