import type { DeadlineQueue } from '../deadline-queue.js';
import type { AcquireCommand, AcquireResult, AcquiresResult, GrantedResult, Results } from '../engine/commands.js';
import type { NamespaceEngine } from '../engine/namespace-engine.js';
import { type AcquireResponse, EndReason } from '../gen/stafett/v1/lock.js';
import { KeyedTable } from '../keyed-table.js';
import { sessionNotFound } from '../sessions/refusals.js';
import type { AcquirePlan } from './acquire-plan.js';
import { type AcquireRun, AcquireRuns, type RunListener } from './acquire-runs.js';
import { type Admission, bytesOf, bytesOfRun } from './admission.js';
import type { LockMetrics } from './lock-metrics.js';
import { toContention, toGrant } from './lock-views.js';
import type { AcquireListener, Pending } from './pending-acquire.js';
import { acquireRefusal, cancelled } from './refusals.js';
import { lockIdOf, planAlone, type RunPlan } from './runs.js';

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
  readonly #runs = new AcquireRuns();
  #begun = 0;
  /** How many wait for somebody to come back. */
  #orphans = 0;

  constructor(options: AcquiresOptions) {
    this.#options = options;
    const { engine } = options;
    engine.interests.push(() => this.#pending.size + this.#runs.size > 0);
    engine.events.on('granted', (lockId, token, since, deadline) => this.#onGranted(lockId, token, since, deadline));
    engine.events.on('dropped', (lockId, how) => this.#onDropped(lockId, how));
    engine.events.on('reask', () => this.#askAgain(() => true));
    engine.events.on('asserted', (sid) => this.#askAgain(({ plan }) => plan.sid === sid));
    // A lease that waits is this server's own; sessions have to come by themselves.
    engine.events.on('epoch', () => this.#askAgain(({ plan }) => plan.leaseTtlMs > 0));
  }

  /** Asks the engine. A second caller with the same request joins the first. */
  start(plan: AcquirePlan, listener: AcquireListener): void {
    let pending = this.#find(plan.lockId);
    if (pending && !sameNames(pending.plan.names, plan.names)) {
      listener(acquireRefusal(['reused', pending.plan.names], plan.sid));
      return;
    }
    if (pending) {
      this.#renew(pending, plan);
    } else {
      const bytes = bytesOf(plan);
      const refusal = this.#options.admission.enter(bytes);
      if (refusal) return listener(refusal);
      pending = this.#add(plan, bytes, ++this.#begun, performance.now());
    }
    if (!pending.listeners.includes(listener)) pending.listeners.push(listener);
    this.#ask(pending);
  }

  /**
   * Asks the engine for all of them. Those that are granted at once cost little; any other becomes an acquire as by `start`.
   * @returns undefined if there is no room for so many, or if one of them may have been asked for already: then each has to be started alone.
   */
  startRun(plan: RunPlan, listener: RunListener): AcquireRun | undefined {
    const { admission, engine } = this.#options;
    const [bytes, count] = [bytesOfRun(plan), plan.names.length];
    if (this.#orphans > 0 && plan.names.some((_, i) => this.#find(lockIdOf(plan, i)))) return undefined;
    if (admission.enter(bytes, count)) return undefined;
    const run = { plan, listener, order: this.#begun + 1, startedAt: performance.now(), bytes, count, apart: undefined, place: 0 };
    this.#begun += count;
    this.#runs.add(run);
    engine.submit<'acquires'>(plan.command, (error, result) => this.#onRunResult(run, error, result));
    return run;
  }

  /** As `abandon`, all that has no answer. */
  abandonRun(run: AcquireRun): void {
    for (const { plan, listeners } of this.#takeApart(run)) for (const listener of [...listeners]) this.abandon(plan.lockId, listener);
  }

  /** The caller has gone for good: leaves the queues, or gives back what was granted meanwhile. */
  leave(lockId: string, listener: AcquireListener): void {
    const pending = this.#find(lockId);
    if (!pending || !stopsTelling(pending, listener)) return;
    this.#forget(pending);
    this.#takeBack(lockId);
  }

  /** It was cancelled before it was carried out: of two batches under way, the first may have to be sent again. */
  overtaken(lockId: string): void {
    const pending = this.#find(lockId);
    if (pending && !pending.answered && pending.ticket === undefined) this.#answer(pending, cancelled(lockId));
  }

  /** The caller's stream broke: it may come back, here or elsewhere, and finds its place. A lease has nobody to come back. */
  abandon(lockId: string, listener: AcquireListener): void {
    const pending = this.#pending.get(lockId);
    if (!pending) return;
    if (pending.plan.leaseTtlMs > 0) return this.leave(lockId, listener);
    if (!stopsTelling(pending, listener)) return;
    this.#disarm(pending);
    this.#orphans++;
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
    if (!this.#find(lockId)) this.#takeBack(lockId);
  }

  #add(plan: AcquirePlan, bytes: number, order: number, startedAt: number): Pending {
    const pending: Pending = { plan, order, bytes, startedAt, listeners: [], answered: false, left: false, place: 0 };
    this.#pending.add(pending);
    return pending;
  }

  /** Asked for once more. */
  #renew(pending: Pending, plan: AcquirePlan): void {
    pending.plan = plan;
    pending.answered = pending.left = false;
    pending.early = undefined;
    pending.startedAt = performance.now();
    this.#disarm(pending);
  }

  #find(lockId: string): Pending | undefined {
    const pending = this.#pending.get(lockId);
    if (pending) return pending;
    const [run, offset] = this.#runs.find(lockId) ?? [];
    return run && offset !== undefined && !run.apart?.has(offset) ? this.#part(run, offset) : undefined;
  }

  /** Makes it an acquire like any other; the result of the run is still its own. */
  #part(run: AcquireRun, offset: number): Pending {
    const plan = planAlone(run.plan, offset);
    const bytes = bytesOf(plan);
    run.bytes -= bytes;
    run.count--;
    let pending = this.#pending.get(plan.lockId);
    if (pending) {
      this.#renew(pending, plan);
      this.#options.admission.leave(bytes);
    } else {
      pending = this.#add(plan, bytes, run.order + offset, run.startedAt);
    }
    pending.listeners.push(run.listener.alone(offset));
    run.apart ??= new Map();
    run.apart.set(offset, pending);
    return pending;
  }

  #takeApart(run: AcquireRun): Pending[] {
    return run.plan.names.map((_, offset) => run.apart?.get(offset) ?? this.#part(run, offset));
  }

  #onRunResult(run: AcquireRun, error: Error | undefined, result?: AcquiresResult): void {
    const { plan, listener, startedAt } = run;
    const { now, deadline, each } = result ?? { now: 0, deadline: 0, each: [] };
    const [offsets, tokens]: [number[], number[]] = [[], []];
    const waitedMs = performance.now() - startedAt;
    for (let i = 0; i < plan.names.length; i++) {
      const own = each[i];
      const pending = run.apart?.get(i);
      if (typeof own === 'number' && !pending) {
        offsets.push(i);
        tokens.push(own);
        this.#options.metrics.waited(plan.names[i] as string, waitedMs);
      } else {
        this.#onResult(pending ?? this.#part(run, i), error, typeof own === 'number' ? ['granted', own, now, deadline, 0] : own);
      }
    }
    this.#runs.delete(run);
    this.#options.admission.leave(run.bytes, run.count);
    listener.answered(offsets, tokens, now, deadline);
  }

  /** In the order in which they came: those whose place in the queue is not known yet get one in that order. */
  #askAgain(which: (pending: Pending) => boolean): void {
    for (const run of this.#runs.all()) this.#takeApart(run);
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
    const pending = this.#find(lockId);
    if (!pending || pending.answered) return;
    const grant: GrantedResult = ['granted', token, since, deadline, pending.plan.leaseTtlMs];
    // An outbox may tell once more of an earlier acquire with this request id: its token is lower than the ticket of this one.
    if (pending.ticket === undefined) pending.early = grant;
    else if (token > pending.ticket) this.#grant(pending, grant);
  }

  #onDropped(lockId: string, how: number): void {
    const pending = this.#find(lockId);
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
    if (pending.orphaned) this.#orphans--;
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
