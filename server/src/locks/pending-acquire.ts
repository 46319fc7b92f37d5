import type { Placed } from '../crowd.js';
import type { Deadline } from '../deadline-queue.js';
import type { GrantedResult } from '../engine/commands.js';
import type { AcquireResponse } from '../gen/stafett/v1/lock.js';
import type { AcquirePlan } from './acquire-plan.js';

/** Told once how the acquire went. */
export type AcquireListener = (error: Error | undefined, response?: AcquireResponse) => void;

export interface Pending extends Placed {
  plan: AcquirePlan;
  /** The how manieth it is. */
  readonly order: number;
  /** What it takes, as it was admitted. */
  readonly bytes: number;
  startedAt: number;
  readonly listeners: AcquireListener[];
  answered: boolean;
  /** Its place in the queue, once it is known. */
  ticket?: number;
  /** A grant that was told before the place in the queue was. */
  early?: GrantedResult;
  /** Nobody waits for the answer any more. */
  left: boolean;
  timeout?: Deadline;
  /** A lease is kept alive by this server while its caller waits. */
  keep?: Deadline;
  /** Its callers' stream broke: when to give up that they come back. */
  orphaned?: Deadline;
}
