import { type Channel, ChannelCredentials, createChannel, createClientFactory, Metadata } from 'nice-grpc';
import { errorDetailsClientMiddleware } from 'nice-grpc-error-details';
import { type LockServiceClient, LockServiceDefinition } from './gen/stafett/v1/lock.js';
import { type SessionServiceClient, SessionServiceDefinition } from './gen/stafett/v1/session.js';
import type { Settings } from './options.js';

/** How soon a silent connection is asked for a sign of life, and how long it may take to give one, ms. */
const PING_AFTER_MS = 5_000;
const PING_TIMEOUT_MS = 3_000;

/** One connection to one server, from its opening until something about it breaks. It is never mended, only replaced. */
export class Link {
  readonly sessions: SessionServiceClient;
  readonly locks: LockServiceClient;
  readonly #channel: Channel;
  readonly #broken = new AbortController();

  constructor(
    readonly address: string,
    settings: Settings,
  ) {
    this.#channel = createChannel(address, credentials(settings), {
      'grpc.keepalive_time_ms': PING_AFTER_MS,
      'grpc.keepalive_timeout_ms': PING_TIMEOUT_MS,
      'grpc.max_receive_message_length': -1,
      'grpc.use_local_subchannel_pool': 1, // else a fresh link inherits the back-off of the one before
    });
    const metadata = new Metadata({ 'stafett-namespace': settings.namespace });
    if (settings.token !== undefined) metadata.set('authorization', `Bearer ${settings.token}`);
    const clients = createClientFactory().use(errorDetailsClientMiddleware);
    this.sessions = clients.create(SessionServiceDefinition, this.#channel, { '*': { metadata } });
    this.locks = clients.create(LockServiceDefinition, this.#channel, { '*': { metadata } });
  }

  /** Aborted once the link is of no more use. */
  get broken(): AbortSignal {
    return this.#broken.signal;
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
