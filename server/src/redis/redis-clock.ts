/** By how much a reply may be earlier or later than expected before the clock counts as set, ms: less than any client's margin. */
export const TOLERANCE_MS = 200;

/** What this server expects the clock of Redis to show, by its own monotonic clock. Drift is followed reply by reply. */
export class RedisClock {
  /** Redis' time less `performance.now()`, ms. */
  #offset: number | undefined;
  #run = '';

  /** Redis' time now, ms; 0 if it is not known. */
  expected(): number {
    return this.#offset === undefined ? 0 : Math.round(performance.now() + this.#offset);
  }

  /** A reply that came at `receivedAt` to what was sent at `sentAt` said that it was `now` somewhen in between. */
  observe(now: number, sentAt: number, receivedAt: number): void {
    const [lowest, highest] = [now - receivedAt, now + 1 - sentAt];
    this.#offset = Math.min(highest, Math.max(lowest, this.#offset ?? (lowest + highest) / 2));
  }

  /** As `observe`, of a reply that nothing hangs on: what is not known is not learned, and a clock that was set not believed. */
  follow(now: number, sentAt: number, receivedAt: number, toleranceMs: number): void {
    if (this.#offset === undefined || this.wasSet(now, sentAt, receivedAt, toleranceMs)) return;
    this.observe(now, sentAt, receivedAt);
  }

  /** Does the reply tell of a clock that was set, by more than the tolerance? */
  wasSet(now: number, sentAt: number, receivedAt: number, toleranceMs: number): boolean {
    if (this.#offset === undefined) return false;
    return now + 1 < sentAt + this.#offset - toleranceMs || now > receivedAt + this.#offset + toleranceMs;
  }

  /** Another time. */
  forget(): void {
    this.#offset = undefined;
  }

  /** Another Redis process may be on another host. */
  belongsTo(run: string): void {
    if (this.#run !== run) this.forget();
    this.#run = run;
  }
}
