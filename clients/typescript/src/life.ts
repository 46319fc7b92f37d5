import { type StafettError, sessionLost } from './errors.js';

/** Something that hangs on a session. */
interface Hanging {
  lose(reason: StafettError): void;
}

/**
 * One session, from its opening to its loss. It counts as alive until a deadline that is earlier than the server's: from
 * the moment when the last confirmed keepalive was *sent*, on this process's monotonic clock, less a margin. Whoever
 * asks compares with the clock, so that a stalled event loop cannot hide that the deadline has passed.
 */
export class SessionLife {
  /** By lock id. */
  readonly grants = new Map<string, Hanging>();
  #deadline: number;
  #timer: NodeJS.Timeout | undefined;
  #lost: StafettError | undefined;
  #requests = 0;

  constructor(
    readonly id: string,
    readonly ttlMs: number,
    private readonly safetyMarginMs: number,
    sentAt: number,
    private readonly onLost: (reason: StafettError) => void,
  ) {
    this.#deadline = sentAt + ttlMs - safetyMarginMs;
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

  /** A request id that this session has not used. */
  nextRequestId(): string {
    this.#requests++;
    return this.#requests.toString(36);
  }

  /** The keepalive that was sent then is confirmed. */
  confirm(sentAt: number): void {
    if (this.lost) return;
    this.#deadline = Math.max(this.#deadline, sentAt + this.ttlMs - this.safetyMarginMs);
  }

  lose(reason: StafettError): void {
    if (this.#lost) return;
    this.#lost = reason;
    clearTimeout(this.#timer);
    for (const grant of this.grants.values()) grant.lose(reason);
    this.grants.clear();
    this.onLost(reason);
  }

  #watch(): void {
    this.#timer = setTimeout(
      () => {
        if (!this.lost) this.#watch();
      },
      Math.max(1, this.#deadline - performance.now()),
    ).unref();
  }
}
