import type { HolderView, LockView, PastView, WaiterView } from '../../server/src/engine/commands.js';

/** How a grant ended: `EndReason` of lock.proto. */
export const RELEASED = 1;
export const EXPIRED = 2;
export const FORCED = 3;
export const SESSION_CLOSED = 4;

/** Last holders remembered for each name. */
const HISTORY = 10;

export interface Acquire {
  readonly id: string;
  readonly sid: string;
  readonly names: readonly string[];
  readonly owner: string;
  /** The locks that the asking context holds. */
  readonly context: readonly string[];
  granted: boolean;
  /** The fencing token, or the ticket while it waits. */
  seq: number;
  since: number;
  caller: string;
  leaseTtlMs: number;
}

export interface Session {
  readonly sid: string;
  readonly ttlMs: number;
  readonly opened: number;
  readonly owner: string;
  server: string;
  deadline: number;
  endsAs: number;
  revoked: string[];
}

export interface Lock {
  holder: string | undefined;
  /** Waiting acquires by ticket. */
  queue: string[];
  unlocks: number;
  /** Latest first. */
  history: readonly PastView[];
  /** Server -> until when it wants to hear of unlocks. */
  watchers: Map<string, number>;
}

export interface EndedGrant {
  readonly how: number;
  readonly names: readonly string[];
}

export const isLease = (sid: string): boolean => sid.startsWith('~');

const unused = (): Lock => ({ holder: undefined, queue: [], unlocks: 0, history: [], watchers: new Map() });

/**
 * What the lock engine ought to know and how it ought to decide, in the plainest way: maps, arrays and searches through all
 * of them. It makes no choice of its own; who is served when several could be is for the caller to say.
 */
export class LockModel {
  now = 0;
  lastSeq = 0;
  /** Open sessions, and the sessions of leases. */
  sessions = new Map<string, Session>();
  acquires = new Map<string, Acquire>();
  /** Every remembered name. */
  locks = new Map<string, Lock>();
  ended = new Map<string, EndedGrant>();

  clone(): LockModel {
    const copy = new LockModel();
    copy.now = this.now;
    copy.lastSeq = this.lastSeq;
    for (const [sid, session] of this.sessions) copy.sessions.set(sid, { ...session, revoked: [...session.revoked] });
    for (const [id, acquire] of this.acquires) copy.acquires.set(id, { ...acquire });
    for (const [name, lock] of this.locks) {
      copy.locks.set(name, { ...lock, queue: [...lock.queue], watchers: new Map(lock.watchers) });
    }
    copy.ended = new Map(this.ended);
    return copy;
  }

  // What is asked of it.

  peek(name: string): Lock {
    return this.locks.get(name) ?? unused();
  }

  alive(sid: string): boolean {
    return this.deadlineOf(sid) > this.now;
  }

  deadlineOf(sid: string): number {
    return this.sessions.get(sid)?.deadline ?? 0;
  }

  /** Neither alive nor ended yet. */
  overdue(): Session[] {
    return [...this.sessions.values()].filter(({ deadline }) => deadline <= this.now);
  }

  acquiresOf(sid: string): Acquire[] {
    return [...this.acquires.values()].filter((acquire) => acquire.sid === sid);
  }

  waiters(): Acquire[] {
    return [...this.acquires.values()].filter(({ granted }) => !granted);
  }

  counts(): { held: number; waiting: number } {
    let held = 0;
    for (const { granted, names } of this.acquires.values()) if (granted) held += names.length;
    return { held, waiting: this.waiters().length };
  }

  // The queue rule.

  /** May it have all its names now: each is free, and it is, or passes, the head of each queue? */
  mayTake({ id, names, context }: Pick<Acquire, 'id' | 'names' | 'context'>): boolean {
    return names.every((name) => {
      const { holder, queue } = this.peek(name);
      if (holder !== undefined) return false;
      const head = queue[0];
      return head === undefined || head === id || (context.length > 0 && this.waitsFor(head, new Set(context)));
    });
  }

  /** Does the waiter wait for the context: through who holds its names, or who is first in line for them? */
  waitsFor(id: string, context: ReadonlySet<string>, seen = new Set<string>()): boolean {
    const waiter = this.acquires.get(id) as Acquire;
    if (seen.has(id) || waiter.context.some((lockId) => context.has(lockId))) return false;
    seen.add(id);
    return waiter.names.some((name) => {
      const { holder, queue } = this.peek(name);
      if (holder !== undefined && context.has(holder)) return true;
      const next = holder === undefined ? [] : this.waitersWithin(holder).map((each) => each.id);
      if (queue[0] !== id) next.push(queue[0] as string);
      return next.some((each) => this.waitsFor(each, context, seen));
    });
  }

  /** Would waiting for these names close a cycle of holds? */
  closesCycle(names: readonly string[], context: ReadonlySet<string>, seen = new Set<string>()): boolean {
    return names.some((name) => {
      const { holder } = this.peek(name);
      if (holder === undefined || seen.has(holder)) return false;
      seen.add(holder);
      return context.has(holder) || this.waitersWithin(holder).some((waiter) => this.closesCycle(waiter.names, context, seen));
    });
  }

  /** The waiters whose context holds this lock. */
  waitersWithin(lockId: string): Acquire[] {
    return this.waiters().filter(({ context }) => context.includes(lockId));
  }

  // What happens to it.

  remember(name: string): Lock {
    const lock = this.peek(name);
    this.locks.set(name, lock);
    return lock;
  }

  enqueue(acquire: Acquire): void {
    this.acquires.set(acquire.id, acquire);
    for (const name of acquire.names) this.remember(name).queue.push(acquire.id);
  }

  /** Gives an acquire, which may have waited, all its names. */
  grant(acquire: Acquire, token: number): void {
    this.#leaveQueues(acquire);
    for (const name of acquire.names) this.remember(name).holder = acquire.id;
    Object.assign(acquire, { granted: true, seq: token, since: this.now });
    this.acquires.set(acquire.id, acquire);
  }

  /** Ends a grant; returns what is remembered of it. */
  finish(acquire: Acquire, how: number): PastView {
    const { id, sid, owner, seq, since, names } = acquire;
    const past: PastView = [sid, owner, this.ownerOf(sid), seq, since, this.now, how];
    for (const name of names) {
      const lock = this.remember(name);
      lock.holder = undefined;
      lock.unlocks++;
      lock.history = [past, ...lock.history].slice(0, HISTORY);
    }
    this.#remove(acquire);
    if (how !== RELEASED || isLease(sid)) this.ended.set(id, { how, names });
    return past;
  }

  drop(acquire: Acquire): void {
    this.#leaveQueues(acquire);
    this.#remove(acquire);
  }

  // How it is shown.

  ownerOf(sid: string): string {
    return this.sessions.get(sid)?.owner ?? '';
  }

  holderView(id: string): HolderView {
    const { sid, owner, seq, since } = this.acquires.get(id) as Acquire;
    return [sid, owner, this.ownerOf(sid), seq, since, this.deadlineOf(sid)];
  }

  lockView(name: string): LockView {
    const { holder, queue, unlocks } = this.peek(name);
    return [name, holder !== undefined && this.holderView(holder), queue.length, unlocks];
  }

  waiterViews(name: string): WaiterView[] {
    return this.peek(name)
      .queue.slice(0, 10)
      .map((id) => {
        const { sid, owner, since } = this.acquires.get(id) as Acquire;
        return [sid, owner, this.ownerOf(sid), since];
      });
  }

  /** The names that are in the way. */
  blockers(names: readonly string[]): LockView[] {
    return names.map((name) => this.lockView(name)).filter(([, holder, waiting]) => holder !== false || waiting > 0);
  }

  #leaveQueues({ id, names }: Acquire): void {
    for (const name of names) {
      const lock = this.remember(name);
      lock.queue = lock.queue.filter((each) => each !== id);
    }
  }

  #remove({ id, sid }: Acquire): void {
    this.acquires.delete(id);
    if (isLease(sid)) this.sessions.delete(sid);
  }
}
