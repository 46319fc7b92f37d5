/** What a client of the chaos run tells, one JSON line each. Times are µs of the machine's monotonic clock, the same for all processes. */
export type ChaosEvent =
  | { kind: 'ready' }
  /** A lock was granted; the time is after the client knew. */
  | { kind: 'granted'; at: number; id: string; session: string; tokens: Record<string, string> }
  /** `assertHeld()` did not throw; the time is before it was asked. */
  | { kind: 'held'; at: number; id: string }
  /** A transaction is over; without a reason it did all that it had to do. */
  | { kind: 'done'; at: number; id: string; reason?: string };

/** An event and the process that told it. */
export type Told<E extends ChaosEvent = ChaosEvent> = E & { readonly client: string };

/** µs. */
export function monotonicUs(): number {
  return Number(process.hrtime.bigint() / 1_000n);
}
