import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Status } from 'nice-grpc-common';
import type { Logger } from 'pino';
import { ErrorReason } from '../gen/stafett/v1/error.js';
import type { Step } from '../rpc/draining.js';
import { reportDefect } from '../rpc/error-mapping.js';
import { invalidField, StafettError } from '../rpc/errors.js';
import { checkNamespace, DEFAULT_NAMESPACE } from '../rpc/namespace.js';
import type { Channels, SubscribeOptions } from './channels.js';
import { parseEventId } from './event-id.js';
import { planFeeds } from './event-requests.js';
import type { SlowPolicy } from './outbound-queue.js';
import { SseStream } from './sse-stream.js';
import type { Subscription } from './subscription.js';

/** How soon a browser connects again, ms. */
const RETRY_MS = 1_000;
const CHANNELS_MAX = 64;
const SLOW: readonly SlowPolicy[] = ['disconnect', 'drop-oldest', 'conflate'];
const PARAMETERS = ['channel', 'namespace', 'slow', 'lastEventId'];

export interface SseGatewayOptions {
  readonly channels: (namespace: string) => Channels;
  readonly logger: Logger;
  /** Ends all streams, so that browsers connect elsewhere. */
  readonly draining: Step;
  readonly corsOrigins: readonly string[] | undefined;
  readonly heartbeatMs: number;
}

interface Plan extends SubscribeOptions {
  readonly namespace: string;
}

/** Events for browsers: `GET /v1/events?channel=…`, as Server-Sent Events, which `EventSource` reads and resumes by itself. */
export function addSseGateway(app: FastifyInstance, options: SseGatewayOptions): void {
  app.options('/v1/events', async (request, reply) => {
    const headers = corsHeaders(options, request);
    if (headers['access-control-allow-origin']) headers['access-control-allow-headers'] = 'last-event-id, cache-control';
    return reply.code(204).headers(headers).send();
  });

  app.get('/v1/events', async (request, reply) => {
    const headers = corsHeaders(options, request);
    let subscription: Subscription;
    let channels: Channels;
    let plan: Plan;
    try {
      plan = planStream(request);
      channels = options.channels(plan.namespace);
      if (options.draining.reached) return comeAgain(reply, headers);
      subscription = await channels.subscribe(plan);
    } catch (error) {
      const refusal = error instanceof StafettError ? error : reportDefect(options.logger, '/v1/events', error);
      if (refusal.status === Status.UNAVAILABLE) return comeAgain(reply, headers);
      return refuse(reply.headers(headers), refusal);
    }
    begin(reply, headers);
    const unfollow = options.draining.follow(() => subscription.end());
    const stream = new SseStream(reply.raw, subscription, plan.feeds);
    try {
      await stream.run(options.heartbeatMs);
    } catch (error) {
      // A reader that is too slow comes back for what it has not read. Everything else is told to the log.
      if (!(error instanceof StafettError)) reportDefect(options.logger, '/v1/events', error);
    } finally {
      unfollow();
      channels.unsubscribe(subscription);
      reply.raw.end();
    }
  });
}

/** @throws {StafettError} that names the parameter */
function planStream(request: FastifyRequest): Plan {
  const query = new URL(request.url, 'http://localhost').searchParams;
  for (const name of query.keys()) {
    if (!PARAMETERS.includes(name)) throw invalidField(name.slice(0, 64), `there is no such parameter; there are ${PARAMETERS.join(', ')}`);
  }
  const namespace = query.get('namespace') ?? DEFAULT_NAMESPACE;
  checkNamespace([namespace]);
  const names = query.getAll('channel');
  if (names.length > CHANNELS_MAX) throw invalidField('channel', `${names.length} of them; at most ${CHANNELS_MAX} are allowed`);
  const feeds = planFeeds(
    'channel',
    names.map((channel) => ({ channel, since: undefined })),
  );
  const slowPolicy = (query.get('slow') ?? 'disconnect') as SlowPolicy;
  if (!SLOW.includes(slowPolicy)) throw invalidField('slow', `must be one of ${SLOW.join(', ')}`);
  const header = request.headers['last-event-id'];
  const id = typeof header === 'string' && header !== '' ? header : (query.get('lastEventId') ?? '');
  if (id === '') return { namespace, feeds, slowPolicy };
  const positions = parseEventId('Last-Event-ID', id, feeds.length);
  return { namespace, feeds: feeds.map(({ name }, i) => ({ name, since: positions[i] })), slowPolicy };
}

function begin(reply: FastifyReply, headers: Record<string, string>): void {
  reply.hijack();
  reply.raw.writeHead(200, {
    ...headers,
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store, no-transform',
    'x-accel-buffering': 'no',
  });
  reply.raw.write(`retry: ${RETRY_MS}\n\n`);
}

/** An `EventSource` gives up for good when it is refused, but not when a stream ends. */
function comeAgain(reply: FastifyReply, headers: Record<string, string>): void {
  begin(reply, headers);
  reply.raw.end();
}

function refuse(reply: FastifyReply, { status, reason, message, metadata }: StafettError) {
  const code = status === Status.INTERNAL ? 500 : status === Status.RESOURCE_EXHAUSTED ? 503 : 400;
  return reply.code(code).send({ error: message, reason: ErrorReason[reason], metadata });
}

/** Whose pages may read the answer. */
function corsHeaders({ corsOrigins = [] }: SseGatewayOptions, { headers: { origin } }: FastifyRequest): Record<string, string> {
  if (corsOrigins.includes('*')) return { 'access-control-allow-origin': '*' };
  if (corsOrigins.length === 0) return {};
  return { vary: 'origin', ...(origin !== undefined && corsOrigins.includes(origin) && { 'access-control-allow-origin': origin }) };
}
