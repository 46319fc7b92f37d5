import type { Command, EngineEvent, PastView } from '../../server/src/engine/commands.js';
import type { HarnessLimits, Observed } from '../support/engine-harness.js';
import { type Acquire, EXPIRED, isLease, type LockModel, type Session } from '../support/lock-model.js';
import type { Choices } from './choices.js';
import { compare, show, Violation } from './violation.js';

type Granted = Extract<EngineEvent, ['granted', ...unknown[]]>;

export interface Call {
  readonly server: string;
  readonly commands: readonly Command[];
  readonly limits: HarnessLimits;
  readonly nowUs: number;
  /** The highest token that the server had seen. */
  readonly seen: number;
  /** What other servers' calls had left for this one. */
  readonly undrained: readonly EngineEvent[];
}

/**
 * One call, carried out on the model. Who is served next when several may be is taken from what the engine did, and each
 * of its grants is checked against the rule at its moment; everything else is predicted and compared.
 */
export class Replay {
  unfinished = false;
  undrained: readonly EngineEvent[];
  readonly #told = new Map<string, EngineEvent[]>();
  readonly #grants: Granted[];
  /** What each server was told, by `orderOf`: a path of choices that does not lead there is left at once. */
  readonly #toldInOrder = new Map<string, EngineEvent[]>();
  readonly #unlocked: [name: string, count: number, past: PastView][] = [];
  readonly #countsBefore: { held: number; waiting: number };
  #deadlines: number[] = [];
  #stats = { handoffs: 0, expired: 0, forced: 0 };

  constructor(
    readonly model: LockModel,
    readonly call: Call,
    readonly observed: Observed,
    readonly choices: Choices,
  ) {
    this.undrained = call.undrained;
    this.#countsBefore = model.counts();
    const told: [string, readonly EngineEvent[]][] = [[call.server, observed.events], ...observed.foreign];
    for (const [server, events] of told) {
      for (const event of events) {
        const order = orderOf(server, event);
        this.#toldInOrder.set(order, [...(this.#toldInOrder.get(order) ?? []), event]);
      }
    }
    this.#grants = told
      .flatMap(([, events]) => events)
      .filter((event): event is Granted => event[0] === 'granted')
      .sort((a, b) => a[2] - b[2]);
  }

  /** What comes before the commands. @throws {Violation}, as all that follows. */
  begin(): void {
    const { model, call, observed } = this;
    model.now = Math.floor(call.nowUs / 1000);
    compare('the time is', model.now, observed.now);
    this.#expireDue();
  }

  /** What can only be compared when the whole call was carried out. */
  finishCall(): void {
    this.#checkEvents();
    this.#checkTotals();
  }

  /** A token or a ticket that the engine has drawn: above all that were before. */
  draw(seq: number): number {
    const { model, call } = this;
    const least = Math.max(model.lastSeq + 1, call.nowUs, call.seen + 1);
    if (!(seq >= least)) throw new Violation(`the token or ticket ${seq} is below ${least}`);
    model.lastSeq = seq;
    return seq;
  }

  tell(server: string, event: EngineEvent): void {
    this.#told.set(server, [...(this.#told.get(server) ?? []), event]);
    const told = this.#toldInOrder.get(orderOf(server, event))?.shift();
    if (show(told) !== show(event)) throw new Violation(`${server} was told ${show(told)}; expected ${show(event)}`);
  }

  setDeadline(session: Session, deadline: number): void {
    session.deadline = deadline;
    this.#deadlines.push(deadline);
  }

  finish(acquire: Acquire, how: number): PastView {
    const past = this.model.finish(acquire, how);
    for (const name of acquire.names) this.#unlocked.push([name, this.model.peek(name).unlocks, past]);
    if (how === EXPIRED) this.#stats.expired++;
    return past;
  }

  forced(): void {
    this.#stats.forced++;
  }

  /** Ends one acquire of a session that has ended. */
  end(acquire: Acquire, how: number): void {
    if (acquire.granted) {
      this.finish(acquire, how);
    } else {
      this.model.drop(acquire);
      this.tell(acquire.caller, ['dropped', acquire.id, how]);
    }
    this.settle();
  }

  /** Ends what the session has, in any order, up to the budget; returns what is left of the budget. */
  endSession(session: Session, budget: number): number {
    while (true) {
      const left = this.model.acquiresOf(session.sid);
      if (left.length === 0) break;
      if (budget <= 0) {
        this.unfinished = true;
        return 0;
      }
      const possible = left.filter((acquire) => acquire.granted || this.#isDroppedNext(acquire, session.endsAs));
      const next = possible[this.choices.choose(possible.length)];
      if (!next) throw new Violation(`not told, or not in their order, that these were dropped: ${ids(left)}`);
      budget -= next.names.length;
      this.end(next, session.endsAs);
    }
    // It may only see in the next call that nothing is left.
    if (budget <= 0 && this.observed.more && this.choices.choose(2) === 1) {
      this.unfinished = true;
      return 0;
    }
    this.model.sessions.delete(session.sid);
    return budget - 1;
  }

  /** Serves everybody who can be served, as the engine did, and tells those who watch. */
  settle(): void {
    const { model } = this;
    while (true) {
      if (this.#dropOverdue()) continue;
      const servable = model.waiters().filter((waiter) => model.alive(waiter.sid) && model.mayTake(waiter));
      if (servable.length === 0) break;
      const grant = this.#grants.shift();
      if (!grant) throw new Violation(`left waiting, and could have been granted: ${ids(servable)}`);
      const acquire = servable.find(({ id }) => id === grant[1]);
      if (!acquire) throw new Violation(`${grant[1]} was granted; only these could be: ${ids(servable)}`);
      this.#handOff(acquire, grant[2]);
    }
    this.#tellWatchers();
  }

  #handOff(acquire: Acquire, token: number): void {
    const { model } = this;
    model.grant(acquire, this.draw(token));
    const session = model.sessions.get(acquire.sid) as Session;
    if (isLease(acquire.sid)) this.setDeadline(session, model.now + acquire.leaseTtlMs);
    this.tell(acquire.caller, ['granted', acquire.id, token, model.now, session.deadline]);
    this.#stats.handoffs++;
  }

  /** A waiter of a session whose turn to be ended has not come may be taken out of the way before. */
  #dropOverdue(): boolean {
    const { model } = this;
    for (const acquire of model.waiters()) {
      const session = model.sessions.get(acquire.sid) as Session;
      const how = [EXPIRED, session.endsAs].find((each) => this.#isDroppedNext(acquire, each));
      if (how === undefined || model.alive(acquire.sid)) continue;
      if (!acquire.names.some((name) => model.peek(name).holder === undefined && model.peek(name).queue[0] === acquire.id)) continue;
      if (this.choices.choose(2) === 1) continue;
      model.drop(acquire);
      this.tell(acquire.caller, ['dropped', acquire.id, how]);
      return true;
    }
    return false;
  }

  #isDroppedNext({ caller, id }: Acquire, how: number): boolean {
    const dropped: EngineEvent = ['dropped', id, how];
    return show(this.#toldInOrder.get(orderOf(caller, dropped))?.[0]) === show(dropped);
  }

  #expireDue(): void {
    let budget = this.call.limits.expireBudget;
    while (true) {
      const overdue = this.model.overdue().sort((a, b) => a.deadline - b.deadline || (a.sid < b.sid ? -1 : 1));
      const together = overdue.filter(({ deadline }) => deadline === overdue[0]?.deadline);
      if (together.length === 0) return;
      if (budget <= 0) {
        this.unfinished = true;
        return;
      }
      const session = together[this.choices.choose(together.length)] as Session;
      budget = this.endSession(session, budget);
    }
  }

  #tellWatchers(): void {
    const { model } = this;
    for (const [name, count, past] of this.#unlocked.splice(0)) {
      const { holder, watchers } = model.peek(name);
      for (const [server, until] of watchers) {
        if (until > model.now) this.tell(server, ['unlocked', name, count, past, holder !== undefined && model.holderView(holder)]);
      }
    }
  }

  #checkEvents(): void {
    if (this.#grants.length > 0) throw new Violation(`granted though the rule does not permit it: ${show(this.#grants)}`);
    const { call, observed } = this;
    const servers = new Set([call.server, ...this.#told.keys(), ...observed.foreign.keys()]);
    for (const server of servers) {
      const told = (server === call.server ? observed.events : observed.foreign.get(server)) ?? [];
      compare(`${server} was told`, sorted(this.#told.get(server) ?? []), sorted(told));
      checkOrder(told);
    }
  }

  #checkTotals(): void {
    const { model, observed } = this;
    const { held, waiting } = model.counts();
    compare('the namespace counts', { held, waiting }, observed.counts);
    const { handoffs, expired, forced } = this.#stats;
    compare('hand-offs, expiries, forced', [handoffs, expired, forced], observed.stats.slice(0, 3));
    if (observed.stats[3] !== -1 || show({ held, waiting }) !== show(this.#countsBefore)) {
      compare('the reply counts', [held, waiting], observed.stats.slice(3));
    }
    if (observed.seq !== 0 && observed.seq < model.lastSeq)
      throw new Violation(`the reply's seq ${observed.seq} is below ${model.lastSeq}`);
    if (observed.more !== this.unfinished) throw new Violation(`more: ${observed.more}; locks left to give back: ${this.unfinished}`);
    const soonest = Math.min(...this.#deadlines);
    const wakesUp = observed.soonest > 0 && observed.soonest <= soonest;
    if (this.#deadlines.length > 0 && !wakesUp) throw new Violation(`soonest is ${observed.soonest}; a session runs out at ${soonest}`);
  }
}

/** Events of one order come one after the other; those of different orders may come in any. */
const orderOf = (server: string, event: EngineEvent): string => [server, event[0], event[0] === 'unlocked' ? event[1] : ''].join(' ');

/** A server hears of grants in the order of their tokens, and of a name's unlocks in the order of their counts. */
function checkOrder(events: readonly EngineEvent[]): void {
  const last = new Map<string, number>();
  for (const event of events) {
    const [key, n] = event[0] === 'unlocked' ? [`unlocked ${event[1]}`, event[2]] : [event[0], event[0] === 'granted' ? event[2] : 0];
    if (n < (last.get(key) ?? 0)) throw new Violation(`told in the wrong order: ${show(events)}`);
    last.set(key, n);
  }
}

const ids = (acquires: readonly Acquire[]): string => acquires.map(({ id }) => id).join(', ');
const sorted = (events: readonly EngineEvent[]): string[] => events.map((event) => show(event)).sort();
