import { setMaxListeners } from 'node:events';
import { type StafettError, sessionLost } from './errors.js';
import type { AssertedGrant } from './gen/stafett/v1/session.js';
import { type Numbered, Ring } from './numbered.js';
import { lookingSignal } from './signals.js';

/** Something that is held under a session. */
export interface Held extends Numbered {
  readonly lockId: string;
  lose(reason: StafettError): void;
  /** For servers that have lost it. */
  toAssert(): AssertedGrant;
}

export interface SessionLifeOptions {
  readonly id: string;
  readonly ttlMs: number;
  readonly safetyMarginMs: number;
  /** When the request to open it was sent, on the monotonic clock. */
  readonly sentAt: number;
  readonly epoch: string;
  onLost(life: SessionLife, reason: StafettError): void;
}

/**
 * One session, from its opening to its loss. It counts as alive until a deadline that is earlier than the server's: from
 * the moment when the last confirmed keepalive was *sent*, on this process's monotonic clock, less a margin. Whoever
 * asks compares with the clock, so that a stalled event loop cannot hide that the deadline has passed.
 */
export class SessionLife {
  readonly id: string;
  readonly ttlMs: number;
  /** What is held. */
  readonly grants = new Ring<Held>();
  /** What this process runs under it. */
  readonly runs = new Set<{ lose(reason: StafettError): void }>();
  /** The life of Redis' data in which the session is known; '' while it is being asserted. */
  epoch: string;
  highestToken = 0n;
  /** Locks that were revoked before we heard that we have them: the news and the grant come by different streams. */
  readonly revokedEarly = new Set<string>();
  readonly #options: SessionLifeOptions;
  #deadline: number;
  #timer: NodeJS.Timeout | undefined;
  #lost: StafettError | undefined;
  #controller: AbortController | undefined;
  #requests = 0;
  #endAt = 0;

  constructor(options: SessionLifeOptions) {
    this.id = options.id;
    this.ttlMs = options.ttlMs;
    this.epoch = options.epoch;
    this.#options = options;
    this.#deadline = this.#deadlineFrom(options.sentAt);
    this.#watch();
  }

  /** Why it is lost, or undefined while it lives. Looks at the clock. */
  get lost(): StafettError | undefined {
    if (!this.#lost && performance.now() >= this.#deadline) this.lose(sessionLost('no keepalive was confirmed in time'));
    return this.#lost;
  }

  /** How long it lives without another keepalive, ms. */
  get remainingMs(): number {
    return this.lost ? 0 : this.#deadline - performance.now();
  }

  /** Once it is lost: from when on the servers may be told, on the monotonic clock. */
  get endAt(): number {
    return this.#endAt;
  }

  /** Aborted when it is lost. */
  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      setMaxListeners(0, this.#controller.signal); // one for each process that leaves
      if (this.lost) this.#controller.abort(this.lost);
      lookingSignal(this.#controller, () => this.lost);
    }
    return this.#controller.signal;
  }

  /** A request id that this session has not used: a number, one more than the one before. */
  nextRequestId(): string {
    this.#requests++;
    return String(this.#requests);
  }

  /** The keepalive that was sent then is confirmed. */
  confirm(sentAt: number): void {
    if (this.lost) return;
    this.#deadline = Math.max(this.#deadline, this.#deadlineFrom(sentAt));
  }

  lose(reason: StafettError): void {
    if (this.#lost) return;
    this.#lost = reason;
    clearTimeout(this.#timer);
    // Whoever held something has the margin to come to an end before it is given to others.
    if (this.grants.size > 0 || this.runs.size > 0) this.#endAt = this.#deadline + this.#options.safetyMarginMs;
    for (const grant of this.grants.all()) grant.lose(reason);
    for (const run of this.runs) run.lose(reason);
    this.runs.clear();
    this.revokedEarly.clear();
    this.#controller?.abort(reason);
    this.#options.onLost(this, reason);
  }

  #deadlineFrom(sentAt: number): number {
    return sentAt + this.ttlMs - this.#options.safetyMarginMs;
  }

  #watch(): void {
    // Without a hold on the process: what keeps that alive is the connection.
    this.#timer = setTimeout(() => this.lost ?? this.#watch(), Math.max(1, this.#deadline - performance.now())).unref();
  }
}
