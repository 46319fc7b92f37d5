import type { Placed } from '../crowd.js';
import type { Deadline, DeadlineQueue } from '../deadline-queue.js';
import type { AcquireCommand, AcquireResult, GrantedResult, Results } from '../engine/commands.js';
import type { NamespaceEngine } from '../engine/namespace-engine.js';
import { type AcquireResponse, EndReason } from '../gen/stafett/v1/lock.js';
import { KeyedTable } from '../keyed-table.js';
import { sessionNotFound } from '../sessions/refusals.js';
import type { AcquirePlan } from './acquire-plan.js';
import type { Admission } from './admission.js';
import type { LockMetrics } from './lock-metrics.js';
import { toContention, toGrant } from './lock-views.js';
import { acquireRefusal, cancelled } from './refusals.js';

/** Told once how the acquire went. */
export type AcquireListener = (error: Error | undefined, response?: AcquireResponse) => void;

interface Pending extends Placed {
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

export interface AcquiresOptions {
  readonly engine: NamespaceEngine;
  readonly serverId: string;
  readonly deadlines: DeadlineQueue;
  readonly resumeWindowMs: number;
  readonly metrics: LockMetrics;
  readonly admission: Admission;
}

/** The acquires of one namespace whose callers are connected to this server, from the question to the answer. */
export class Acquires {
  readonly #options: AcquiresOptions;
  readonly #pending = new KeyedTable<Pending>(({ plan }) => plan.lockId);
  #begun = 0;

  constructor(options: AcquiresOptions) {
    this.#options = options;
    const { engine } = options;
    engine.interests.push(() => this.#pending.size > 0);
    engine.events.on('granted', (lockId, token, since, deadline) => this.#onGranted(lockId, token, since, deadline));
    engine.events.on('dropped', (lockId, how) => this.#onDropped(lockId, how));
    engine.events.on('reask', () => this.#askAgain(() => true));
    engine.events.on('asserted', (sid) => this.#askAgain(({ plan }) => plan.sid === sid));
    // A lease that waits is this server's own; sessions have to come by themselves.
    engine.events.on('epoch', () => this.#askAgain(({ plan }) => plan.leaseTtlMs > 0));
  }

  /** Asks the engine. A second caller with the same request joins the first. */
  start(plan: AcquirePlan, listener: AcquireListener): void {
    let pending = this.#pending.get(plan.lockId);
    if (pending && !sameNames(pending.plan.names, plan.names)) {
      listener(acquireRefusal(['reused', pending.plan.names], plan.sid));
      return;
    }
    if (pending) {
      pending.plan = plan;
      pending.answered = pending.left = false;
      pending.early = undefined;
      pending.startedAt = performance.now();
      this.#disarm(pending);
    } else {
      const bytes = this.#options.admission.enter(plan);
      if (typeof bytes !== 'number') return listener(bytes);
      const [order, startedAt] = [++this.#begun, performance.now()];
      pending = { plan, order, bytes, startedAt, listeners: [], answered: false, left: false, place: 0 };
      this.#pending.add(pending);
    }
    if (!pending.listeners.includes(listener)) pending.listeners.push(listener);
    this.#ask(pending);
  }

  /** The caller has gone for good: leaves the queues, or gives back what was granted meanwhile. */
  leave(lockId: string, listener: AcquireListener): void {
    const pending = this.#pending.get(lockId);
    if (!pending || !stopsTelling(pending, listener)) return;
    this.#forget(pending);
    this.#takeBack(lockId);
  }

  /** It was cancelled before it was carried out: of two batches under way, the first may have to be sent again. */
  overtaken(lockId: string): void {
    const pending = this.#pending.get(lockId);
    if (pending && !pending.answered && pending.ticket === undefined) this.#answer(pending, cancelled(lockId));
  }

  /** The caller's stream broke: it may come back, here or elsewhere, and finds its place. A lease has nobody to come back. */
  abandon(lockId: string, listener: AcquireListener): void {
    const pending = this.#pending.get(lockId);
    if (!pending) return;
    if (pending.plan.leaseTtlMs > 0) return this.leave(lockId, listener);
    if (!stopsTelling(pending, listener)) return;
    this.#disarm(pending);
    pending.orphaned = this.#options.deadlines.add(this.#options.resumeWindowMs, () => {
      this.#forget(pending);
      this.#takeBack(lockId);
    });
  }

  /** Unless the acquire was asked again through another server: then it is that one's. */
  #takeBack(lockId: string): void {
    this.#options.engine.submit<'cancel'>(['cancel', lockId, this.#options.serverId], () => {});
  }

  /** It was asked once more, after a broken connection, and had an end before that was carried out. */
  #takeBackUnlessAskedAnew(lockId: string): void {
    if (!this.#pending.get(lockId)) this.#takeBack(lockId);
  }

  /** In the order in which they came: those whose place in the queue is not known yet get one in that order. */
  #askAgain(which: (pending: Pending) => boolean): void {
    const pending = this.#pending.all().filter(which);
    for (const each of pending.sort((a, b) => a.order - b.order)) this.#ask(each);
  }

  /** Whoever had a place in a queue already keeps it, if Redis has forgotten it. */
  #ask(pending: Pending): void {
    const { plan, ticket } = pending;
    const command = ticket === undefined ? plan.command : (plan.command.with(8, ticket) as AcquireCommand);
    this.#options.engine.submit<'acquire'>(command, (error, result) => this.#onResult(pending, error, result));
  }

  #onResult(pending: Pending, error: Error | undefined, result?: AcquireResult): void {
    const { lockId, sid } = pending.plan;
    if (pending.left && (result?.[0] === 'granted' || result?.[0] === 'queued')) return this.#takeBackUnlessAskedAnew(lockId);
    if (pending.answered || !this.#pending.has(pending)) return;
    if (error || !result) return this.#answer(pending, error);
    switch (result[0]) {
      case 'granted':
        return this.#grant(pending, result);
      case 'queued':
        return this.#wait(pending, result[1]);
      case 'moved':
        return this.#answer(pending, cancelled(lockId)); // to nobody: the client is elsewhere
      case 'unconfirmed':
        return; // asked again when its session has been asserted, or the time for that is over
      case 'contended':
        return this.#answer(pending, undefined, { outcome: { $case: 'contention', value: toContention(result[1], false) } });
      default:
        return this.#answer(pending, acquireRefusal(result, sid));
    }
  }

  #wait(pending: Pending, ticket: number): void {
    pending.ticket = ticket;
    if (pending.early && pending.early[1] > ticket) return this.#grant(pending, pending.early);
    const { deadlines, engine } = this.#options;
    const { plan } = pending;
    if (pending.orphaned || pending.timeout) return;
    engine.expectExpiries();
    const left = Math.max(0, pending.startedAt + plan.waitMs - performance.now());
    pending.timeout = deadlines.add(left, () => {
      engine.submit<'timeout'>(['timeout', plan.lockId], (error, result) => this.#onTimeout(pending, error, result));
    });
    if (plan.leaseTtlMs > 0) this.#keepLease(pending);
  }

  #keepLease(pending: Pending): void {
    const { sid, leaseTtlMs } = pending.plan;
    pending.keep = this.#options.deadlines.add(leaseTtlMs / 3, () => {
      this.#options.engine.submit<'keep'>(['keep', sid, leaseTtlMs], () => {}, true);
      this.#keepLease(pending);
    });
  }

  #onTimeout(pending: Pending, error: Error | undefined, result?: Results['timeout']): void {
    if (pending.answered) return;
    if (error || !result) return this.#answer(pending, error);
    if (result[0] === 'granted') return this.#grant(pending, result);
    if (result[0] === 'none') return this.#answer(pending, sessionNotFound(pending.plan.sid));
    this.#answer(pending, undefined, { outcome: { $case: 'contention', value: toContention(result[1], true) } });
  }

  #onGranted(lockId: string, token: number, since: number, deadline: number): void {
    const pending = this.#pending.get(lockId);
    if (!pending || pending.answered) return;
    const grant: GrantedResult = ['granted', token, since, deadline, pending.plan.leaseTtlMs];
    // An outbox may tell once more of an earlier acquire with this request id: its token is lower than the ticket of this one.
    if (pending.ticket === undefined) pending.early = grant;
    else if (token > pending.ticket) this.#grant(pending, grant);
  }

  #onDropped(lockId: string, how: number): void {
    const pending = this.#pending.get(lockId);
    if (!pending || pending.answered) return;
    this.#answer(pending, how === EndReason.RELEASED ? cancelled(lockId) : sessionNotFound(pending.plan.sid));
  }

  #grant(pending: Pending, result: GrantedResult): void {
    const { lockId, names } = pending.plan;
    this.#options.metrics.waited(names[0] as string, performance.now() - pending.startedAt);
    const grant = toGrant({ lockId, names, result, epoch: this.#options.engine.epoch.id });
    this.#answer(pending, undefined, { outcome: { $case: 'grant', value: grant } });
  }

  #answer(pending: Pending, error: Error | undefined, response?: AcquireResponse): void {
    pending.answered = true;
    pending.left = response?.outcome?.$case !== 'grant';
    pending.timeout?.cancel();
    pending.keep?.cancel();
    if (pending.orphaned) return; // nobody to tell; given back when the time is over, unless they come back
    this.#remove(pending);
    for (const listener of pending.listeners) listener(error, response);
  }

  #forget(pending: Pending): void {
    pending.answered = pending.left = true;
    this.#disarm(pending);
    this.#remove(pending);
  }

  #remove(pending: Pending): void {
    if (this.#pending.delete(pending)) this.#options.admission.leave(pending.bytes);
  }

  #disarm(pending: Pending): void {
    pending.timeout?.cancel();
    pending.keep?.cancel();
    pending.orphaned?.cancel();
    pending.timeout = pending.keep = pending.orphaned = undefined;
  }
}

/** @returns whether it was the last one that was told. */
function stopsTelling({ listeners }: Pending, listener: AcquireListener): boolean {
  const place = listeners.indexOf(listener);
  if (place >= 0) listeners.splice(place, 1);
  return place >= 0 && listeners.length === 0;
}

function sameNames(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name, i) => name === b[i]);
}
