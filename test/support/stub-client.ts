import { type Channel, createChannel, createClientFactory } from 'nice-grpc';
import { Metadata } from 'nice-grpc-common';
import { CacheServiceDefinition } from '../../server/src/gen/stafett/v1/cache.js';
import { InstanceServiceDefinition } from '../../server/src/gen/stafett/v1/instance.js';
import { type Grant, type Lock, LockServiceDefinition, type PastHolder } from '../../server/src/gen/stafett/v1/lock.js';
import { ProcessServiceDefinition } from '../../server/src/gen/stafett/v1/process.js';
import { type OpenSessionRequest, SessionServiceDefinition } from '../../server/src/gen/stafett/v1/session.js';
import { SettingServiceDefinition } from '../../server/src/gen/stafett/v1/setting.js';
import { type AcquireOptions, acquireRequest, granted, type Outcome, quiet, toOutcome } from './stub-acquire.js';
import { toDuration } from './stub-duration.js';
import { type StubError, stubErrors } from './stub-error.js';
import { StubPipeline } from './stub-pipeline.js';
import { StubSession } from './stub-session.js';
import { StubWatch } from './stub-watch.js';

/** What is refused. @throws {Error} if it is not. */
export async function refusal(call: Promise<unknown>): Promise<StubError> {
  const result = await call.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  if ('error' in result) return result.error as StubError;
  throw new Error(
    `expected a refusal, and got ${JSON.stringify(result.value, (_, each) => (typeof each === 'bigint' ? `${each}` : each))}`,
  );
}

type SessionOptions = { readonly ttlMs?: number; readonly client?: OpenSessionRequest['client'] };

/**
 * A client with a connection of its own and nothing between the test and the generated stubs but promises: no retries,
 * no reconnects. It knows nothing of vitest, so that it works in child processes, too.
 */
export class StubClient {
  readonly #channel: Channel;
  readonly locks;
  readonly sessions;
  readonly settings;
  readonly instances;
  readonly processes;
  readonly caches;

  /** @param port of a server, or of a proxy before it. */
  constructor(
    readonly port: number,
    readonly namespace?: string,
  ) {
    this.#channel = createChannel(`127.0.0.1:${port}`, undefined, {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.max_reconnect_backoff_ms': 200,
    });
    const factory = createClientFactory().use(stubErrors);
    const metadata = new Metadata(namespace === undefined ? {} : { 'stafett-namespace': namespace });
    this.locks = factory.create(LockServiceDefinition, this.#channel, { '*': { metadata } });
    this.sessions = factory.create(SessionServiceDefinition, this.#channel, { '*': { metadata } });
    this.settings = factory.create(SettingServiceDefinition, this.#channel, { '*': { metadata } });
    this.instances = factory.create(InstanceServiceDefinition, this.#channel, { '*': { metadata } });
    this.processes = factory.create(ProcessServiceDefinition, this.#channel, { '*': { metadata } });
    this.caches = factory.create(CacheServiceDefinition, this.#channel, { '*': { metadata } });
  }

  /** Calls under way go on. */
  close(): void {
    this.#channel.close();
  }

  /** Opens a session and keeps it alive over this client. */
  async openSession(options: SessionOptions = {}): Promise<StubSession> {
    const session = await this.openSilentSession(options);
    session.keepAlive(this);
    return session;
  }

  /** Opens a session that nobody keeps alive. */
  async openSilentSession({ ttlMs, client }: SessionOptions = {}): Promise<StubSession> {
    const ttl = ttlMs === undefined ? {} : { ttl: toDuration(ttlMs) };
    const { session, keepAliveInterval } = await this.sessions.openSession({ ...ttl, ...(client && { client }) });
    if (!session || !keepAliveInterval) throw new Error('an incomplete OpenSessionResponse');
    return new StubSession(session, keepAliveInterval);
  }

  pipeline(): StubPipeline {
    return new StubPipeline(this.locks);
  }

  acquire(names: string | readonly string[], options: AcquireOptions = {}, signal?: AbortSignal): Promise<Outcome> {
    return quiet(this.locks.acquire(acquireRequest(names, options), signal && { signal }).then(toOutcome));
  }

  /** Acquires what must be free, or must become so within `waitMs`. */
  lock(names: string | readonly string[], options: AcquireOptions = {}): Promise<Grant> {
    return quiet(this.acquire(names, options).then(granted));
  }

  async extend({ lockId }: Pick<Grant, 'lockId'>, ttlMs?: number): Promise<Grant> {
    const { grant } = await this.locks.extend({ lockId, ...(ttlMs !== undefined && { ttl: toDuration(ttlMs) }) });
    if (!grant) throw new Error('an ExtendResponse without a grant');
    return grant;
  }

  async release({ lockId }: Pick<Grant, 'lockId'>): Promise<void> {
    await this.locks.release({ lockId });
  }

  async cancel(requestId: string, session?: { readonly id: string }): Promise<void> {
    await this.locks.cancelAcquire({ requestId, sessionId: session?.id ?? '' });
  }

  async forceRelease(name: string, fencingToken = 0n): Promise<PastHolder | undefined> {
    return (await this.locks.forceRelease({ name, fencingToken })).previous;
  }

  async getLock(name: string): Promise<Lock> {
    const { lock } = await this.locks.getLock({ name });
    if (!lock) throw new Error('a GetLockResponse without a lock');
    return lock;
  }

  watch(names: string | readonly string[], options: { readonly timeoutMs?: number } = {}): StubWatch {
    return new StubWatch(this.locks, [names].flat(), options.timeoutMs);
  }
}
