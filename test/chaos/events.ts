/** What a client of the chaos run tells, one JSON line each. Times are µs of the machine's monotonic clock, the same for all processes. */
export type ChaosEvent =
  | { kind: 'ready' }
  /** A lock was granted; the time is after the client knew. */
  | { kind: 'granted'; at: number; id: string; session: string; tokens: Record<string, string> }
  /** `assertHeld()` did not throw; the time is before it was asked. */
  | { kind: 'held'; at: number; id: string }
  /** A transaction is over; without a reason it did all that it had to do. */
  | { kind: 'done'; at: number; id: string; reason?: string }
  /** A publication was confirmed, at this place. */
  | { kind: 'published'; at: number; number: number; epoch: string; offset: number }
  /** What follows of the channel or prefix comes after this place; without a gap if it was recovered. */
  | { kind: 'subscribed'; at: number; subscription: string; epoch: string; offset: number; recovered: boolean }
  /** A publication arrived, of the client `from`. */
  | { kind: 'heard'; at: number; subscription: string; from: string; number: number; epoch: string; offset: number }
  /** Its own setting was set; the time is after the confirmation. */
  | { kind: 'set'; at: number; value: number }
  /** The setting of a client has this value for who watches it or has defined it; 0: there is none. */
  | { kind: 'read'; at: number; by: 'watch' | 'define'; of: string; value: number };

/** An event and the process that told it. */
export type Told<E extends ChaosEvent = ChaosEvent> = E & { readonly client: string };

/** µs. */
export function monotonicUs(): number {
  return Number(process.hrtime.bigint() / 1_000n);
}
