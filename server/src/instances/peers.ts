import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { type Channel, ChannelCredentials, createChannel, createClientFactory } from 'nice-grpc';
import { errorDetailsClientMiddleware } from 'nice-grpc-error-details';
import type { Logger } from 'pino';
import type { InstanceServiceClient } from '../gen/stafett/v1/instance.js';
import type { RedisConnection } from '../redis/connection.js';
import { peerKey } from '../redis/keys.js';
import type { Masters } from '../redis/masters.js';
import { slotOf } from '../redis/slots.js';
import { ChunkedInstanceServiceDefinition } from './chunk-codecs.js';

/** How long what a server published of itself outlives it, and how often it is renewed, ms. */
const PUBLISHED_MS = 10_000;
const RENEW_MS = 3_000;
/** A connection to a peer over which no call has gone for so long is closed, ms. */
const IDLE_MS = 60_000;
/** A peer that is silent is asked for a sign of life, and is dead without one, ms: a busy one may take its time. */
const PING_AFTER_MS = 5_000;
const PING_TIMEOUT_MS = 8_000;

const CHANNEL_OPTIONS = {
  'grpc.keepalive_timeout_ms': PING_TIMEOUT_MS,
  'grpc.max_receive_message_length': -1,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.max_reconnect_backoff_ms': 500,
};

export const PEER_HEADER = 'stafett-peer';

export interface PeersOptions {
  readonly serverId: string;
  readonly masters: Pick<Masters, 'at' | 'onChange'>;
  readonly logger: Logger;
  /** Other times than usual, for tests. */
  readonly idleMs?: number;
  readonly pingAfterMs?: number;
}

/** A connection to another server of the cluster. */
export interface Peer {
  readonly client: InstanceServiceClient;
  /** What shows to it that we are of its cluster. */
  readonly secret: string;
  /** Of what goes wrong on the way to it. */
  readonly logger: Logger;
  /** A call goes over the connection, which stays until what is returned is called, once. */
  beginCall(): () => void;
}

/**
 * The servers of the cluster, as they reach each other. Each publishes its address and a secret in Redis, so whoever can read that
 * Redis is one of them: he could change everything there anyway.
 */
export class Peers {
  readonly #options: PeersOptions;
  readonly #secret = randomBytes(32).toString('base64url');
  readonly #opened = new Map<string, PeerConnection>();
  #published = '';
  #stops: (() => void)[] = [];

  constructor(options: PeersOptions) {
    this.#options = options;
  }

  /** Publishes where this server is found, from now on. */
  async start(address: string): Promise<void> {
    this.#published = JSON.stringify({ address, secret: this.#secret });
    const timer = setInterval(() => this.renew(), RENEW_MS).unref();
    const stopListening = this.#options.masters.onChange(() => this.#placeOf(this.#options.serverId).ready && this.renew());
    this.#stops = [() => clearInterval(timer), stopListening];
    await this.#publish();
  }

  /** Was this server's own secret shown? */
  isPeer(shown: string | undefined): boolean {
    return shown !== undefined && timingSafeEqual(hash(shown), hash(this.#secret));
  }

  /** @returns undefined if there is no such server (any more). @throws {StafettError} REDIS_UNAVAILABLE */
  async find(serverId: string): Promise<Peer | undefined> {
    const published = await this.#placeOf(serverId).command<string | null>('GET', peerKey(serverId));
    if (published === null) {
      this.#close(serverId);
      return undefined;
    }
    const { address, secret } = JSON.parse(published) as { address: string; secret: string };
    const { logger, pingAfterMs } = this.#options;
    const opened = this.#opened.get(serverId) ?? new PeerConnection(address, secret, logger.child({ peer: address }), pingAfterMs);
    this.#opened.set(serverId, opened);
    return opened;
  }

  /** Takes this server off the list, as far as that can still be done. */
  close(): void {
    for (const stop of this.#stops) stop();
    for (const serverId of [...this.#opened.keys()]) this.#close(serverId);
    const { serverId } = this.#options;
    const connection = this.#placeOf(serverId);
    if (connection.ready) connection.command('DEL', peerKey(serverId)).catch(() => {}); // it has a TTL
  }

  /** Says again where this server is found: in time, or as soon as Redis may have forgotten it. */
  renew(): void {
    this.#publish().catch((error: Error) => this.#options.logger.debug({ problem: error.message }, 'could not publish the address'));
    const { idleMs = IDLE_MS } = this.#options;
    for (const [serverId, { idleForMs }] of this.#opened) if (idleForMs > idleMs) this.#close(serverId);
  }

  /** Where the server publishes itself. */
  #placeOf(serverId: string): RedisConnection {
    return this.#options.masters.at(slotOf(peerKey(serverId)));
  }

  async #publish(): Promise<void> {
    if (this.#published === '') return;
    const { serverId } = this.#options;
    await this.#placeOf(serverId).command('SET', peerKey(serverId), this.#published, 'PX', PUBLISHED_MS);
  }

  /** Calls that are under way go on. */
  #close(serverId: string): void {
    this.#opened.get(serverId)?.close();
    this.#opened.delete(serverId);
  }
}

class PeerConnection implements Peer {
  readonly client: InstanceServiceClient;
  readonly #channel: Channel;
  #calls = 0;
  #usedAt = performance.now();
  #closed = false;

  constructor(
    address: string,
    readonly secret: string,
    readonly logger: Logger,
    pingAfterMs = PING_AFTER_MS,
  ) {
    const options = { ...CHANNEL_OPTIONS, 'grpc.keepalive_time_ms': pingAfterMs };
    this.#channel = createChannel(address, ChannelCredentials.createInsecure(), options);
    this.client = createClientFactory().use(errorDetailsClientMiddleware).create(ChunkedInstanceServiceDefinition, this.#channel);
  }

  get idleForMs(): number {
    return this.#calls > 0 ? 0 : performance.now() - this.#usedAt;
  }

  beginCall(): () => void {
    this.#calls++;
    return () => {
      this.#calls--;
      this.#usedAt = performance.now();
      if (this.#closed && this.#calls === 0) this.#channel.close();
    };
  }

  /** After the last of its calls: they would go on, but at the next ping, which a closed HTTP/2 session does not send, grpc-js takes it for broken. */
  close(): void {
    this.#closed = true;
    if (this.#calls === 0) this.#channel.close();
  }
}

/** Of one length, whatever was shown. */
function hash(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
