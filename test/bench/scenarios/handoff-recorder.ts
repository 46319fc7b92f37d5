import { Samples } from '../harness/samples.js';
import type { Metrics } from '../harness/stats.js';

/**
 * Follows who holds the one lock of a hand-off cell. All waiters live in one process, so one monotonic clock times everything,
 * and the order of the calls is the order in which they should be served.
 */
export class HandoffRecorder {
  private readonly askedAtMs: Float64Array;
  private readonly served: Int32Array;
  private readonly handoffMs = new Samples();
  private readonly waitMs = new Samples();
  private readonly overtaking = new Set<number>();
  private nextTicket = 0;
  private firstWaitingTicket = 0;
  private holder = -1;
  private held = false;
  private releasedAtMs = Number.NaN;
  private startMs = Number.NaN;
  private reacquired = 0;
  private outOfOrder = 0;
  private overlaps = 0;

  constructor(waiters: number) {
    this.askedAtMs = new Float64Array(waiters).fill(Number.NaN);
    this.served = new Int32Array(waiters);
  }

  /** A waiter is about to call acquire; its ticket is the place at which it should be served. */
  asked(waiter: number): number {
    this.askedAtMs[waiter] = performance.now();
    return this.nextTicket++;
  }

  granted(waiter: number, ticket: number): void {
    const nowMs = performance.now();
    const inOrder = this.serve(ticket);
    const changed = waiter !== this.holder;
    if (this.measuring) {
      if (this.held) this.overlaps++;
      if (!inOrder) this.outOfOrder++;
      if (changed) this.handoffMs.add(nowMs - this.releasedAtMs);
      else this.reacquired++;
      this.waitMs.add(nowMs - (this.askedAtMs[waiter] as number));
      this.served[waiter] = (this.served[waiter] as number) + 1;
    }
    if (changed) this.releasedAtMs = Number.NaN;
    this.askedAtMs[waiter] = Number.NaN;
    this.holder = waiter;
    this.held = true;
  }

  /** The holder is about to call release. If it takes the lock again before anyone else, the clock of the hand-off runs on. */
  releasing(): void {
    this.held = false;
    if (Number.isNaN(this.releasedAtMs)) this.releasedAtMs = performance.now();
  }

  begin(): void {
    this.startMs = performance.now();
  }

  /** Ends the window. Who still waits is counted with the time that it has waited so far. */
  end(): Metrics {
    const nowMs = performance.now();
    const seconds = (nowMs - this.startMs) / 1000;
    this.startMs = Number.NaN;
    for (const askedAtMs of this.askedAtMs) if (!Number.isNaN(askedAtMs)) this.waitMs.add(nowMs - askedAtMs);
    return {
      changesPerSecond: this.handoffMs.length / seconds,
      reacquiredPerSecond: this.reacquired / seconds,
      waitP50Ms: this.waitMs.percentile(0.5),
      waitP99Ms: this.waitMs.percentile(0.99),
      servedMin: this.served.reduce((least, count) => Math.min(least, count), Number.POSITIVE_INFINITY),
      servedMax: this.served.reduce((most, count) => Math.max(most, count), 0),
      neverServed: this.served.filter((count) => count === 0).length,
      outOfOrder: this.outOfOrder,
      overlaps: this.overlaps,
      handoffP50Ms: this.handoffMs.percentile(0.5),
      handoffP99Ms: this.handoffMs.percentile(0.99),
    };
  }

  private get measuring(): boolean {
    return !Number.isNaN(this.startMs);
  }

  /** Whether nobody with an earlier ticket is still waiting. */
  private serve(ticket: number): boolean {
    if (ticket !== this.firstWaitingTicket) {
      this.overtaking.add(ticket);
      return false;
    }
    do this.firstWaitingTicket++;
    while (this.overtaking.delete(this.firstWaitingTicket));
    return true;
  }
}
