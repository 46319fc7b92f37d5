import { type FastifyInstance, fastify } from 'fastify';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { type Address, formatAddress } from '../config/types.js';

/** Whether the server can take work, and if not, why. */
export interface Readiness {
  readonly ready: boolean;
  /** Empty if it is ready. */
  readonly reasons: readonly string[];
  /** What some callers will notice, although it can take work. */
  readonly warnings?: readonly string[];
}

export interface HttpServerOptions {
  readonly logger: Logger;
  readonly registry: Registry;
  readonly version: string;
  readonly readiness: () => Readiness;
  /** What else is served. */
  readonly addRoutes?: (app: FastifyInstance) => void;
}

export interface HttpServer {
  /**
   * Begins to serve and tells the port, which matters if the address asked for any free one.
   * @throws {Error} for the operator, when the address cannot be used.
   */
  listen(address: Address): Promise<number>;
  close(): Promise<void>;
}

/** The pages for operators and their tools: health, readiness and metrics. */
export function createHttpServer(options: HttpServerOptions): HttpServer {
  const app = fastify({ forceCloseConnections: true, bodyLimit: 16_384 });
  addRoutes(app, options);
  options.addRoutes?.(app);
  addErrorPages(app, options.logger);
  return {
    async listen(address) {
      try {
        await app.listen({ host: address.host, port: address.port });
      } catch (error) {
        const problem = (error as Error).message;
        throw new Error(`cannot listen on STAFETT_HTTP_ADDRESS ${formatAddress(address)}: ${problem}`, { cause: error });
      }
      const bound = app.server.address();
      return typeof bound === 'object' && bound !== null ? bound.port : address.port;
    },
    close: () => app.close(),
  };
}

function addRoutes(app: FastifyInstance, { registry, readiness, version }: HttpServerOptions): void {
  app.get('/', async (_, reply) => reply.type('text/plain; charset=utf-8').send(frontPage(version)));
  app.get('/healthz', async () => ({ status: 'ok' }));
  app.get('/readyz', async (_, reply) => {
    const state = readiness();
    return reply.code(state.ready ? 200 : 503).send(state);
  });
  app.get('/metrics', async (_, reply) => reply.type(registry.contentType).send(await registry.metrics()));
}

function addErrorPages(app: FastifyInstance, logger: Logger): void {
  app.setNotFoundHandler((request, reply) => {
    reply.code(404).send({ error: 'not found', path: request.url.slice(0, 256), see: '/' });
  });
  app.setErrorHandler((error: Error & { statusCode?: number }, request, reply) => {
    const code = error.statusCode ?? 500;
    if (code < 500) return reply.code(code).send({ error: error.message });
    logger.error({ err: error, path: request.routeOptions.url }, 'an HTTP request failed');
    return reply.code(500).send({ error: 'internal error' });
  });
}

function frontPage(version: string): string {
  return `Stafett ${version}: a coordination server. Fair, fenced, multi-key locks over Redis or Valkey.

Its API is gRPC, on another port, with reflection. Here are events for browsers, and pages for operators:

  /v1/events?channel=…  events, as Server-Sent Events (docs/events.md)
  /healthz   the process lives
  /readyz    it can take work: its Redis is there, and it is not about to stop
  /metrics   for Prometheus
  /v1/instances/{id}/calls/{name}   what an instance answers, e.g. to info; docs/instances.md

README.md tells the rest.
`;
}
