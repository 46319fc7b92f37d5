import { setTimeout as sleep } from 'node:timers/promises';
import { assertSession } from './asserting.js';
import { backoffMs } from './backoff.js';
import { closed, isHopeless, isUnavailable, lockRevoked, StafettError } from './errors.js';
import { Gate } from './gate.js';
import type { SessionLife } from './life.js';
import { Link } from './link.js';
import type { Settings } from './options.js';
import { Pipeline } from './pipeline.js';
import { Resolver, type Target } from './resolving.js';
import { confirm, openSession } from './sessions.js';
import { LinkedSignal } from './signals.js';
import { type Times, WaitingRoom } from './waiting-room.js';

/**
 * `CONNECTED`: the session is confirmed. `SUSPENDED`: not confirmed lately, but what it holds is still safe. `LOST`: its
 * deadline has passed, whatever it held may be held by others; a new session is opened as soon as a server is reached.
 */
export type SessionState = 'CONNECTED' | 'SUSPENDED' | 'LOST';

/** A link that lived so long was a good one: the next attempt is the first again. */
const GOOD_MS = 1_000;
/** How often those who wait for a connection are looked through. */
const SWEEP_MS = 250;
const CLOSE_MS = 2_000;
/** A node of a thousand processes that opened all its streams in one go would keep both sides from hearing its keepalives. */
const JOINS_AT_ONCE = 32;

/** The client's one connection: to one server at a time, and to the next when that fails. Keeps the session. */
export class Connection {
  readonly pipeline = new Pipeline();
  /** For those who join a process, until they have. */
  readonly joins = new Gate(JOINS_AT_ONCE);
  readonly #settings: Settings;
  readonly #listeners = new Set<(state: SessionState) => void>();
  readonly #onAsserted = new Set<() => void>();
  readonly #waiting: WaitingRoom;
  readonly #closing = new AbortController();
  #state: SessionState = 'LOST';
  #life: SessionLife | undefined;
  /** The one that is being opened or used, and the same once it is of use. */
  #current: Link | undefined;
  #link: Link | undefined;
  #lastError: unknown;
  #closed: Promise<void> | undefined;
  #asserting: Promise<void> | undefined;
  /** Counts the links, so that what an earlier one still had on its way cannot be taken for a new request. */
  #generation = 0;

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#waiting = new WaitingRoom(settings.offlineTimeoutMs, () => this.#unreachable());
  }

  /** @throws {StafettError} CONNECTION_FAILED, after the `connectTimeout`; what a server says when it refuses us for good. */
  async open(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    void this.#maintain();
    try {
      await this.link(performance.now() + this.#settings.connectTimeoutMs, signal);
    } catch (error) {
      void this.close();
      throw error;
    }
  }

  get state(): SessionState {
    return this.#life && !this.#life.lost ? this.#state : 'LOST';
  }

  /** Who this process is. */
  get client(): Settings['client'] {
    return this.#settings.client;
  }

  get connectTimeoutMs(): number {
    return this.#settings.connectTimeoutMs;
  }

  /** Who this is, for people. */
  get author(): string {
    const { name, host } = this.#settings.client;
    return [name, host].filter(Boolean).join('@');
  }

  get life(): SessionLife | undefined {
    return this.#life;
  }

  onStateChange(listener: (state: SessionState) => void): () => void {
    const own = (state: SessionState) => listener(state); // the same function may be added twice
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  /** Told when the session was asserted, and what it holds is certain again. Returns what ends that. */
  onAsserted(listener: () => void): () => void {
    this.#onAsserted.add(listener);
    return () => this.#onAsserted.delete(listener);
  }

  /** The session, or the next one if it is lost. Not a promise if there is no need: one for each acquire would cost. */
  session(times: Times, signal?: AbortSignal): Promise<SessionLife> | SessionLife {
    if (this.#closing.signal.aborted) throw closed();
    if (this.#life && !this.#life.lost) return this.#life;
    return this.#waiting.enter(times, signal).then(() => this.session(times, signal));
  }

  /** The link to a server, if there is one. */
  get present(): Link | undefined {
    return this.#link;
  }

  /** The link to a server, when there is one. @throws {StafettError} CONNECTION_FAILED at `giveUpAt`. */
  async link(giveUpAt: number, signal?: AbortSignal): Promise<Link> {
    while (true) {
      if (this.#closing.signal.aborted) throw closed();
      if (this.#link) return this.#link;
      await this.#waiting.enter(giveUpAt, signal);
    }
  }

  /** Makes one unary call, and again on the next server if this one is not available and the call may be repeated. */
  async call<T>(action: (link: Link, signal: AbortSignal) => Promise<T>, signal?: AbortSignal, repeatable = true): Promise<T> {
    const giveUpAt = performance.now() + this.#settings.connectTimeoutMs;
    for (let attempt = 1; ; attempt++) {
      const link = await this.link(giveUpAt, signal);
      const linked = new LinkedSignal(link.broken, signal);
      try {
        return await action(link, linked.signal);
      } catch (cause) {
        signal?.throwIfAborted();
        if (this.#closing.signal.aborted) throw closed();
        const unavailable = link.broken.aborted || isUnavailable(cause);
        const error = link.broken.aborted ? this.#unreachable() : StafettError.from(cause);
        if (!repeatable || !unavailable || performance.now() >= giveUpAt) throw error;
        await this.pause(backoffMs({ count: attempt, servers: 1, retryDelayMs: error.retryDelayMs }));
      } finally {
        linked.unlink();
      }
    }
  }

  /** Gives everything back, and closes. `keepSession`: what hangs on it must not be given to others before it runs out. */
  close({ keepSession = false } = {}): Promise<void> {
    this.#closed ??= this.#shutDown(keepSession);
    return this.#closed;
  }

  async #shutDown(keepSession: boolean): Promise<void> {
    const [life, link] = [this.#life, this.#link];
    this.#closing.abort(closed());
    this.#waiting.empty(closed());
    life?.lose(closed());
    if (life && link && !keepSession) await this.#closeSession(link, life);
    this.#current?.break(closed());
  }

  async #closeSession(link: Link, { id }: SessionLife): Promise<void> {
    const linked = new LinkedSignal(link.broken, AbortSignal.timeout(CLOSE_MS));
    await link.sessions.closeSession({ sessionId: id }, { signal: linked.signal }).catch(() => {}); // it expires then
    linked.unlink();
  }

  async #maintain(): Promise<void> {
    const resolver = new Resolver(this.#settings.addresses, this.#settings.lookup);
    const sweeper = setInterval(() => this.#sweep(), SWEEP_MS);
    let failures = 0;
    while (!this.#closing.signal.aborted) {
      const targets = await resolver.targets(); // which may be others each time
      for (const target of targets) {
        if (this.#closing.signal.aborted) break;
        failures = (await this.#serve(target)) ? 0 : failures + 1;
        if (isHopeless(this.#lastError)) this.#waiting.empty(StafettError.from(this.#lastError));
        const { retryDelayMs } = StafettError.from(this.#lastError);
        await this.pause(backoffMs({ count: failures, servers: targets.length, retryDelayMs }));
      }
    }
    clearInterval(sweeper);
  }

  /** Serves over one link from its opening to its end. Was it a good one? */
  async #serve(target: Target): Promise<boolean> {
    this.#generation++;
    const link = new Link(target, this.#settings, this.#generation);
    this.#current = link;
    let since = Number.POSITIVE_INFINITY;
    try {
      await this.#establish(link);
      since = performance.now();
      await this.#use(link);
    } catch (error) {
      link.break(error);
    }
    this.#lastError = link.broken.reason;
    return performance.now() - since >= GOOD_MS;
  }

  /** Opens a session, or has the one that there is confirmed. */
  async #establish(link: Link): Promise<void> {
    const before = this.#life;
    if (!before || before.lost) {
      this.#life = await openSession(link, this.#settings, (life, reason) => this.#onLost(life, reason));
      if (before) void this.#tidyUp(link, before);
    }
    const life = this.#life as SessionLife;
    await confirm(link, life, {
      onRevoked: (of, lockIds) => this.#onRevoked(of, lockIds),
      onMustAssert: (of) => this.#assert(link, of),
      onMoving: () => link.break(new Error(`${link.address} is stopping`)),
    });
    // It was asserted over the link before, but not to the end as far as we know: it lives, and what it holds may not.
    if (life.epoch === '') await this.#assert(link, life);
  }

  /** Once for each time that Redis lost its data, however often the servers ask. */
  #assert(link: Link, life: SessionLife): Promise<void> {
    this.#asserting ??= assertSession(link, life, this.#settings).finally(() => {
      this.#asserting = undefined;
      this.pipeline.resume();
      for (const listener of this.#onAsserted) listener();
    });
    this.pipeline.pause();
    return this.#asserting;
  }

  /** Serves over the link until it breaks. */
  async #use(link: Link): Promise<void> {
    if (link.broken.aborted || this.#closing.signal.aborted) return link.break(closed());
    const broken = new Promise<void>((resolve) => {
      link.broken.addEventListener('abort', () => resolve(), { once: true });
    });
    this.#link = link;
    this.#waiting.open();
    this.pipeline.attach(link);
    this.#setState('CONNECTED');
    await broken;
    this.#link = undefined;
    this.#waiting.close();
    this.pipeline.detach();
    if (!this.#life?.lost) this.#setState('SUSPENDED');
  }

  /** A session that counts as lost may live on at the servers, and its waiters be granted what they no longer want. */
  async #tidyUp(link: Link, lost: SessionLife): Promise<void> {
    await this.pause(lost.endAt - performance.now());
    if (!link.broken.aborted) await this.#closeSession(link, lost);
  }

  #onLost(life: SessionLife, reason: StafettError): void {
    this.#setState('LOST');
    this.pipeline.failAll(life, reason);
    if (!this.#closing.signal.aborted) this.#current?.break(reason); // the next link begins with a new session
  }

  #onRevoked(life: SessionLife, lockIds: readonly string[]): void {
    if (this.pipeline.acquires === 0) life.revokedEarly.clear();
    const held = new Map(life.grants.all().map((grant) => [grant.lockId, grant]));
    for (const lockId of lockIds) {
      const grant = held.get(lockId);
      if (grant) grant.lose(lockRevoked(lockId));
      else life.revokedEarly.add(lockId);
      this.pipeline.release(life, lockId).catch(() => {}); // tells the server that we know
    }
  }

  #setState(state: SessionState): void {
    if (state === this.#state) return;
    this.#state = state;
    for (const listener of [...this.#listeners]) {
      try {
        listener(state);
      } catch (error) {
        process.nextTick(() => {
          throw error; // as from a listener of an AbortSignal: not our caller's fault
        });
      }
    }
  }

  #sweep(): void {
    if (this.#life?.lost === undefined && this.#link) return;
    this.#waiting.sweep();
    this.pipeline.sweep(
      (times) => this.#waiting.isTooLate(times),
      () => this.#unreachable(),
    );
  }

  #unreachable(): StafettError {
    const why = this.#lastError instanceof Error ? this.#lastError.message : 'no answer';
    const addresses = this.#settings.addresses.join(', ');
    const message = `no Stafett server can be reached at ${addresses} (${why}); is one running there?`;
    return new StafettError('UNAVAILABLE', 'CONNECTION_FAILED', message, { cause: this.#lastError, retryDelayMs: 1_000 });
  }

  /** Until then, or until the client is closed or the signal aborted. */
  async pause(ms: number, signal?: AbortSignal): Promise<void> {
    if (!(ms > 0)) return;
    const linked = new LinkedSignal(this.#closing.signal, signal);
    await sleep(ms, undefined, { signal: linked.signal }).catch(() => {});
    linked.unlink();
  }
}
