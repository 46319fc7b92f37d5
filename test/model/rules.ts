import type { AcquireCommand, Command, CommandOf, EventVerb, Verb } from '../../server/src/engine/commands.js';
import type { ProcessResults } from '../../server/src/engine/process-commands.js';
import type { RunResults } from '../../server/src/engine/run-commands.js';
import type { SettingVerb } from '../../server/src/engine/setting-commands.js';
import { type Acquire, EXPIRED, FORCED, isLease, RELEASED, SESSION_CLOSED, type Session } from '../support/lock-model.js';
import { READ_RULES } from './read-rules.js';
import type { Replay } from './replay.js';
import { show, Violation } from './violation.js';

/**
 * Carries out a command on the model and returns the result that it must have. What the engine draws, tokens and tickets,
 * is taken from `got`.
 */
/** What ends an epoch has tests of its own. */
type InstanceVerb = 'register_instance' | 'detach_instance' | 'leave_instance' | 'instance' | 'instances' | 'watch_instances';
/** What servers make of acquires and releases that follow each other. */
type JoinedVerb = 'acquires' | 'releases';
export type ModelVerb = Exclude<
  Verb,
  'reopen' | 'claim' | JoinedVerb | EventVerb | keyof ProcessResults | keyof RunResults | SettingVerb | InstanceVerb
>;

export type Rule<V extends Verb> = (replay: Replay, command: CommandOf<V>, got: unknown[]) => unknown[];
type Rules = { [V in ModelVerb]: Rule<V> };

export function expectedResult(replay: Replay, command: Command, got: unknown): unknown[] {
  if (!Array.isArray(got)) throw new Violation(`${show(command)} has no result`);
  return (RULES[command[0] as ModelVerb] as Rule<Verb>)(replay, command, got);
}

const RULES: Rules = {
  ...READ_RULES,
  open,
  keep,
  close,
  acquire,
  timeout,
  cancel,
  release,
  extend,
  force,
};

function open(replay: Replay, [, sid, ttlMs, owner]: CommandOf<'open'>): unknown[] {
  const { model, call } = replay;
  if (!model.alive(sid)) {
    const open = [...model.sessions.keys()].filter((each) => !isLease(each));
    if (open.length >= call.limits.maxSessions) return ['too_many_sessions'];
    model.sessions.set(sid, newSession(replay, sid, ttlMs, owner));
  }
  const deadline = model.now + ttlMs;
  replay.setDeadline(model.sessions.get(sid) as Session, deadline);
  return ['opened', model.now, deadline];
}

function newSession({ model, call }: Replay, sid: string, ttlMs: number, owner: string): Session {
  return { sid, ttlMs, opened: model.now, owner, server: call.server, deadline: 0, endsAs: EXPIRED, revoked: [] };
}

function keep(replay: Replay, [, sid, ttlMs]: CommandOf<'keep'>): unknown[] {
  const { model, call } = replay;
  const session = model.sessions.get(sid);
  if (!session || !model.alive(sid)) return ['gone'];
  session.server = call.server;
  replay.setDeadline(session, model.now + (isLease(sid) ? ttlMs : session.ttlMs));
  return ['alive', session.deadline, session.revoked];
}

function close(replay: Replay, [, sid]: CommandOf<'close'>): unknown[] {
  const { model, call } = replay;
  const session = model.sessions.get(sid);
  if (session && model.alive(sid)) {
    session.deadline = 0;
    session.endsAs = SESSION_CLOSED;
    replay.endSession(session, call.limits.expireBudget);
  }
  return ['closed'];
}

function acquire(replay: Replay, command: AcquireCommand, got: unknown[]): unknown[] {
  const { model, call } = replay;
  const [, sid, rid, names, wait, owner, context, leaseTtlMs] = command;
  const id = `${sid}.${rid}`;
  if (leaseTtlMs === 0 && !model.alive(sid)) return ['gone'];
  const known = model.acquires.get(id);
  if (known && model.alive(sid)) return repeated(replay, known, command);
  if (known) replay.end(known, EXPIRED);
  const lost = (context || []).find((lockId) => !isHeldBy(replay, lockId, sid));
  if (lost !== undefined) return ['not_held', lost];
  if (model.acquiresOf(sid).length >= call.limits.maxLocksPerSession) return ['too_many_locks'];

  const fresh: Acquire = {
    id,
    sid,
    names,
    owner,
    context: context || [],
    granted: false,
    seq: 0,
    since: model.now,
    caller: call.server,
    leaseTtlMs,
  };
  if (model.mayTake(fresh)) {
    startLease(replay, fresh);
    model.grant(fresh, replay.draw(drawn('granted', command, got)));
    return granted(replay, fresh);
  }
  if (wait === 0) return ['contended', model.blockers(names)];
  const full = names.find((name) => model.peek(name).queue.length >= call.limits.maxWaitersPerLock);
  if (full !== undefined) return ['too_many_waiters', full];
  if (context && model.closesCycle(names, new Set(context))) return refusedCycle(replay, command, got);
  startLease(replay, fresh);
  fresh.seq = replay.draw(drawn('queued', command, got));
  model.enqueue(fresh);
  return ['queued', fresh.seq, model.now];
}

function isHeldBy({ model }: Replay, lockId: string, sid: string): boolean {
  return model.acquiresOf(sid).some(({ id, granted }) => granted && id === lockId);
}

/** The number that only the engine knows; any result but the one that must be is a violation. */
function drawn(must: string, command: Command, got: unknown[]): number {
  if (got[0] !== must) throw new Violation(`${show(command)} must be ${must}, and has the result ${show(got)}`);
  return got[1] as number;
}

function startLease(replay: Replay, { sid, leaseTtlMs }: Acquire): void {
  if (leaseTtlMs === 0) return;
  const session = newSession(replay, sid, 0, '');
  replay.model.sessions.set(sid, session);
  replay.setDeadline(session, replay.model.now + leaseTtlMs);
}

function granted({ model }: Replay, { seq, since, sid, leaseTtlMs }: Acquire): unknown[] {
  return ['granted', seq, since, model.deadlineOf(sid), leaseTtlMs];
}

/** The same request again: its grant, or its place in the queue; whoever asks last is the one to tell. */
function repeated(replay: Replay, known: Acquire, [, , , names, wait]: AcquireCommand): unknown[] {
  if (show(names) !== show(known.names)) return ['reused', known.names];
  if (!known.granted && wait === 0) return giveUp(replay, known);
  known.caller = replay.call.server;
  return known.granted ? granted(replay, known) : ['queued', known.seq, known.since];
}

/** Any cycle of holds will do, but it must be one, link by link. */
function refusedCycle({ model }: Replay, command: AcquireCommand, got: unknown[]): unknown[] {
  const cycle = got[0] === 'deadlock' ? (got[1] as [string, unknown][]) : [];
  const context = new Set(command[6] || []);
  let names: ReadonlySet<string> = new Set(command[3]);
  const links = cycle.map(([name], i) => {
    const { holder = '' } = model.peek(name);
    if (!names.has(name)) throw new Violation(`${show(command)}: nobody in the cycle waits for ${name}: ${show(got)}`);
    const waiters = model.waitersWithin(holder);
    names = new Set(waiters.flatMap((waiter) => [...waiter.names]));
    const closed = context.has(holder);
    if (closed !== (i === cycle.length - 1)) throw new Violation(`${show(command)}: the cycle does not close: ${show(got)}`);
    return [name, holder !== '' && model.holderView(holder)];
  });
  return ['deadlock', links];
}

/** Another server that still waits for it has to know. */
function giveUp(replay: Replay, acquire: Acquire): unknown[] {
  const { model, call } = replay;
  model.drop(acquire);
  if (acquire.caller !== call.server) replay.tell(acquire.caller, ['dropped', acquire.id, RELEASED]);
  return ['contended', model.blockers(acquire.names)];
}

function timeout(replay: Replay, [, id]: CommandOf<'timeout'>): unknown[] {
  const known = replay.model.acquires.get(id);
  if (!known) return ['none'];
  if (known.granted) return granted(replay, known);
  return known.caller === replay.call.server ? giveUp(replay, known) : ['none']; // it waits through another server now
}

function cancel(replay: Replay, [, id, onlyServer]: CommandOf<'cancel'>): unknown[] {
  const known = replay.model.acquires.get(id);
  if (!known) return ['none'];
  if (onlyServer !== '' && onlyServer !== known.caller) return ['moved'];
  if (known.granted) {
    replay.finish(known, RELEASED);
    return ['released'];
  }
  replay.model.drop(known);
  if (onlyServer === '') replay.tell(known.caller, ['dropped', id, RELEASED]);
  return ['left'];
}

function release(replay: Replay, [, id]: CommandOf<'release'>): unknown[] {
  const { model } = replay;
  const known = model.acquires.get(id);
  if (known?.granted && model.alive(known.sid)) {
    replay.finish(known, RELEASED);
    return ['released', model.now - known.since, known.names[0]];
  }
  if (known) return ['not_held', id, model.blockers(known.names), 0];
  const [how, blockers] = missing(replay, id);
  return how === RELEASED ? ['released'] : ['not_held', id, blockers, how];
}

function extend(replay: Replay, [, id, ttlMs]: CommandOf<'extend'>): unknown[] {
  const { model } = replay;
  const known = model.acquires.get(id);
  if (!known?.granted || !model.alive(known.sid)) {
    const [how, blockers] = missing(replay, id);
    return ['not_held', id, blockers, how];
  }
  known.leaseTtlMs = ttlMs || known.leaseTtlMs;
  replay.setDeadline(model.sessions.get(known.sid) as Session, model.now + known.leaseTtlMs);
  return [...granted(replay, known), known.names];
}

/** How it ended: as remembered; else a living session can only have released it. Its client knows of it from now on. */
function missing({ model }: Replay, id: string): [how: number, blockers: unknown] {
  const sid = id.slice(0, id.indexOf('.'));
  const session = model.sessions.get(sid);
  if (session) session.revoked = session.revoked.filter((each) => each !== id);
  const ended = model.ended.get(id);
  return [ended?.how ?? (model.alive(sid) ? RELEASED : EXPIRED), model.blockers(ended?.names ?? [])];
}

function force(replay: Replay, [, name, token]: CommandOf<'force'>): unknown[] {
  const { model } = replay;
  const { holder } = model.peek(name);
  if (holder === undefined) return ['free'];
  const known = model.acquires.get(holder) as Acquire;
  if (token !== 0 && token !== known.seq) return ['not_held', '', model.blockers([name]), 0];
  const past = replay.finish(known, FORCED);
  replay.forced();
  const session = model.sessions.get(known.sid);
  if (session && !isLease(known.sid)) {
    session.revoked.push(holder);
    replay.tell(session.server, ['revoked', known.sid, holder]);
  }
  return ['forced', past];
}
