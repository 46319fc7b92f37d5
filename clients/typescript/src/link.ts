import { setMaxListeners } from 'node:events';
import { type Channel, ChannelCredentials, createChannel, createClientFactory, Metadata } from 'nice-grpc';
import { errorDetailsClientMiddleware } from 'nice-grpc-error-details';
import { type CacheServiceClient, CacheServiceDefinition } from './gen/stafett/v1/cache.js';
import { type EventServiceClient, EventServiceDefinition } from './gen/stafett/v1/event.js';
import type { InstanceServiceClient } from './gen/stafett/v1/instance.js';
import { type LockServiceClient, LockServiceDefinition } from './gen/stafett/v1/lock.js';
import { type ProcessServiceClient, ProcessServiceDefinition } from './gen/stafett/v1/process.js';
import { type SessionServiceClient, SessionServiceDefinition } from './gen/stafett/v1/session.js';
import { type SettingServiceClient, SettingServiceDefinition } from './gen/stafett/v1/setting.js';
import { ChunkedInstanceServiceDefinition } from './instances/chunk-codecs.js';
import type { Settings } from './options.js';
import { openPipeline, type PipelineListener, type WriteRequest } from './pipeline-stream.js';
import type { Target } from './resolving.js';

/** How soon a silent connection is asked for a sign of life, and how long it may take to give one, ms. */
const PING_AFTER_MS = 5_000;
const PING_TIMEOUT_MS = 3_000;

/** One connection to one server, from its opening until something about it breaks. It is never mended, only replaced. */
export class Link {
  readonly sessions: SessionServiceClient;
  readonly locks: LockServiceClient;
  readonly settings: SettingServiceClient;
  readonly caches: CacheServiceClient;
  readonly events: EventServiceClient;
  readonly processes: ProcessServiceClient;
  readonly instances: InstanceServiceClient;
  readonly address: string;
  readonly #channel: Channel;
  readonly #metadata: Metadata;
  readonly #broken = new AbortController();

  constructor({ address, authority }: Target, settings: Settings, generation: number) {
    this.address = address;
    this.#channel = createChannel(address, credentials(settings), {
      ...(authority !== undefined && { 'grpc.default_authority': authority }),
      ...(authority !== undefined && settings.tls && { 'grpc.ssl_target_name_override': authority.replace(/:\d+$/, '') }),
      'grpc.keepalive_time_ms': PING_AFTER_MS,
      'grpc.keepalive_timeout_ms': PING_TIMEOUT_MS,
      'grpc.max_receive_message_length': -1,
      'grpc.use_local_subchannel_pool': 1, // else a fresh link inherits the connection, or the back-off, of the one before
    });
    const metadata = new Metadata({ 'stafett-namespace': settings.namespace, 'stafett-generation': String(generation) });
    if (settings.token !== undefined) metadata.set('authorization', `Bearer ${settings.token}`);
    const clients = createClientFactory().use(errorDetailsClientMiddleware);
    this.sessions = clients.create(SessionServiceDefinition, this.#channel, { '*': { metadata } });
    this.locks = clients.create(LockServiceDefinition, this.#channel, { '*': { metadata } });
    this.events = clients.create(EventServiceDefinition, this.#channel, { '*': { metadata } });
    this.processes = clients.create(ProcessServiceDefinition, this.#channel, { '*': { metadata } });
    this.instances = clients.create(ChunkedInstanceServiceDefinition, this.#channel, { '*': { metadata } });
    this.#metadata = metadata;
    this.settings = clients.create(SettingServiceDefinition, this.#channel, { '*': { metadata } });
    this.caches = clients.create(CacheServiceDefinition, this.#channel, { '*': { metadata } });
    setMaxListeners(0, this.broken); // each call over it listens
  }

  /** Aborted once the link is of no more use. Every call over it must be given this signal: it ends none by itself. */
  get broken(): AbortSignal {
    return this.#broken.signal;
  }

  /** Opens `Pipeline`, which ends with the link. */
  pipeline(listener: PipelineListener): WriteRequest {
    return openPipeline(this.#channel, this.#metadata, this.broken, listener);
  }

  break(reason: unknown): void {
    if (this.#broken.signal.aborted) return;
    this.#broken.abort(reason);
    this.#channel.close();
  }
}

function credentials({ tls }: Settings): ChannelCredentials {
  if (!tls) return ChannelCredentials.createInsecure();
  if (tls === true) return ChannelCredentials.createSsl();
  return ChannelCredentials.createSsl(tls.ca, tls.key, tls.cert);
}
