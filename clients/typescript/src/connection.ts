import { setTimeout as sleep } from 'node:timers/promises';
import { closed, isUnavailable, StafettError } from './errors.js';
import { KeepAlive } from './keep-alive.js';
import { SessionLife } from './life.js';
import { Link } from './link.js';
import type { Settings } from './options.js';
import { Pipeline } from './pipeline.js';

/**
 * `CONNECTED`: the session is confirmed. `SUSPENDED`: not confirmed lately, but what it holds is still safe. `LOST`: its
 * deadline has passed, whatever it held may be held by others; a new session is opened as soon as a server is reached.
 */
export type SessionState = 'CONNECTED' | 'SUSPENDED' | 'LOST';

const BACKOFF_MS_MIN = 20;
const BACKOFF_MS_MAX = 1_000;
/** How long one server may take to open a session or to confirm one. */
const ESTABLISH_MS = 3_000;
/** How often those who wait for a connection are looked through. */
const SWEEP_MS = 250;
const CLOSE_MS = 2_000;
/** How often a unary call is asked again, on whichever server, while none is available. */
const CALL_ATTEMPTS = 6;

interface Waiting {
  readonly giveUpAt: number;
  readonly resolve: (life: SessionLife) => void;
  readonly reject: (error: unknown) => void;
}

/** The client's one connection: to one server at a time, and to the next when that fails. Keeps the session. */
export class Connection {
  readonly pipeline = new Pipeline();
  readonly #settings: Settings;
  readonly #listeners = new Set<(state: SessionState) => void>();
  readonly #waiting = new Set<Waiting>();
  readonly #closing = new AbortController();
  #state: SessionState = 'LOST';
  #life: SessionLife | undefined;
  #link: Link | undefined;
  #lastError: unknown;
  #sweeper: NodeJS.Timeout | undefined;

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  /** @throws {StafettError} CONNECTION_FAILED, after the `connectTimeout`. */
  async open(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const onAbort = () => void this.close();
    signal?.addEventListener('abort', onAbort, { once: true });
    void this.#maintain();
    try {
      await this.session(performance.now() + this.#settings.connectTimeoutMs);
    } catch (error) {
      void this.close();
      throw signal?.aborted ? signal.reason : error;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  get state(): SessionState {
    return this.#life?.lost === undefined ? this.#state : 'LOST';
  }

  get life(): SessionLife | undefined {
    return this.#life;
  }

  onStateChange(listener: (state: SessionState) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The session, or the next one if it is lost. @throws {StafettError} CONNECTION_FAILED at `giveUpAt`. */
  session(giveUpAt: number, signal?: AbortSignal): Promise<SessionLife> | SessionLife {
    if (this.#closing.signal.aborted) throw closed();
    if (this.#life && !this.#life.lost) return this.#life;
    return new Promise((resolve, reject) => {
      const done =
        <T>(settle: (value: T) => void) =>
        (value: T) => {
          this.#waiting.delete(waiting);
          signal?.removeEventListener('abort', onAbort);
          settle(value);
        };
      const waiting: Waiting = { giveUpAt, resolve: done(resolve), reject: done(reject) };
      const onAbort = () => waiting.reject(signal?.reason);
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiting.add(waiting);
    });
  }

  /** Makes one unary call, on the next server if this one is not available and the call may be repeated. */
  async call<T>(action: (link: Link) => Promise<T>, repeatable = true): Promise<T> {
    const giveUpAt = performance.now() + this.#settings.connectTimeoutMs;
    for (let attempt = 1; ; attempt++) {
      await this.session(giveUpAt);
      try {
        if (!this.#link) throw this.#unreachable();
        return await action(this.#link);
      } catch (cause) {
        const again = repeatable && attempt < CALL_ATTEMPTS && performance.now() < giveUpAt && !this.#closing.signal.aborted;
        const error = StafettError.from(cause);
        if (!again || !(isUnavailable(cause) || error.reason === 'CONNECTION_FAILED')) throw error;
        await this.#pause(backoff(attempt + 2));
      }
    }
  }

  /** The link to whichever server is connected; undefined if none is until then. */
  async link(until: number, signal?: AbortSignal): Promise<Link | undefined> {
    while (!this.#link && performance.now() < until) {
      if (this.#closing.signal.aborted) throw closed();
      signal?.throwIfAborted();
      await this.#pause(BACKOFF_MS_MIN);
    }
    return this.#link;
  }

  /** Gives everything back, and closes. */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    const [life, link] = [this.#life, this.#link];
    this.#closing.abort();
    for (const waiting of this.#waiting) waiting.reject(closed());
    life?.lose(closed());
    if (life && link) await link.sessions.closeSession({ sessionId: life.id }, { signal: AbortSignal.timeout(CLOSE_MS) }).catch(() => {});
    link?.break(closed());
  }

  async #maintain(): Promise<void> {
    const { addresses } = this.#settings;
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_MS);
    let failures = 0;
    for (let turn = 0; !this.#closing.signal.aborted; turn++) {
      const link = new Link(addresses[turn % addresses.length] as string, this.#settings);
      try {
        await this.#establish(link);
        failures = 0;
        await this.#use(link);
      } catch (error) {
        this.#lastError = error;
      }
      link.break(this.#lastError);
      await this.#pause(backoff(failures++ - addresses.length + 1));
    }
    clearInterval(this.#sweeper);
  }

  /** Opens a session, or has the one that there is confirmed. */
  async #establish(link: Link): Promise<void> {
    const timeout = setTimeout(() => link.break(new Error(`${link.address} does not answer`)), ESTABLISH_MS);
    try {
      if (!this.#life || this.#life.lost) this.#life = await this.#openSession(link);
      await this.#confirm(link, this.#life);
    } finally {
      clearTimeout(timeout);
    }
  }

  async #openSession(link: Link): Promise<SessionLife> {
    const { client, ttlMs, safetyMarginMs } = this.#settings;
    const ttl = { seconds: BigInt(Math.floor(ttlMs / 1000)), nanos: Math.round((ttlMs % 1000) * 1e6) };
    const sentAt = performance.now();
    const { session } = await link.sessions.openSession({ client, ttl }, { signal: link.broken });
    if (!session) throw new Error('the server opened no session');
    const life = new SessionLife(session.sessionId, ttlMs, safetyMarginMs, sentAt, (reason) => this.#onLost(life, reason));
    return life;
  }

  #confirm(link: Link, life: SessionLife): Promise<void> {
    return new Promise((resolve, reject) => {
      link.broken.addEventListener('abort', () => reject(link.broken.reason), { once: true });
      new KeepAlive(link, life, {
        onConfirmed: resolve,
        onRevoked: (lockIds) => this.#onRevoked(life, lockIds),
        onMoving: () => link.break(new Error(`${link.address} is stopping`)),
      }).start();
    });
  }

  /** Serves over the link until it breaks. */
  async #use(link: Link): Promise<void> {
    if (this.#closing.signal.aborted || !this.#life) return;
    const broken = new Promise<void>((resolve) => {
      link.broken.addEventListener('abort', () => resolve(), { once: true });
    });
    this.#link = link;
    this.#setState('CONNECTED');
    this.pipeline.attach(link);
    for (const waiting of this.#waiting) waiting.resolve(this.#life);
    if (!link.broken.aborted) await broken;
    this.#lastError = link.broken.reason;
    this.#link = undefined;
    this.pipeline.detach();
    if (!this.#life.lost) this.#setState('SUSPENDED');
  }

  #onLost(life: SessionLife, reason: StafettError): void {
    this.#setState('LOST');
    this.pipeline.failAll(life, reason);
    if (!this.#closing.signal.aborted) this.#link?.break(reason); // the next link begins with a new session
  }

  #onRevoked(life: SessionLife, lockIds: string[]): void {
    for (const lockId of lockIds) {
      const reason = new StafettError('FAILED_PRECONDITION', 'LOCK_REVOKED', 'an operator took the lock away', {
        metadata: { lock_id: lockId },
      });
      life.grants.get(lockId)?.lose(reason);
      this.pipeline.release(life, lockId).catch(() => {}); // tells the server that we know
    }
  }

  #setState(state: SessionState): void {
    if (state === this.#state) return;
    this.#state = state;
    for (const listener of this.#listeners) listener(state);
  }

  #sweep(): void {
    if (this.#life?.lost === undefined && this.#link) return;
    const now = performance.now();
    for (const waiting of this.#waiting) if (waiting.giveUpAt <= now) waiting.reject(this.#unreachable());
    this.pipeline.sweep(now, () => this.#unreachable());
  }

  #unreachable(): StafettError {
    const why = this.#lastError instanceof Error ? this.#lastError.message : 'no answer';
    const addresses = this.#settings.addresses.join(', ');
    const message = `no Stafett server can be reached at ${addresses} (${why}); is one running there?`;
    return new StafettError('UNAVAILABLE', 'CONNECTION_FAILED', message, { cause: this.#lastError, retryDelayMs: BACKOFF_MS_MAX });
  }

  async #pause(ms: number): Promise<void> {
    if (ms > 0) await sleep(ms, undefined, { signal: this.#closing.signal }).catch(() => {});
  }
}

/** Exponential, with jitter; at once while there are servers that have not been tried yet. */
function backoff(failures: number): number {
  if (failures <= 0) return 0;
  return Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** (failures - 1)) * (0.5 + Math.random() / 2);
}
