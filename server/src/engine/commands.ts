/**
 * The border to the Lua state machine: what goes in and what comes out, typed once. The verbs, their arguments and their
 * results are described where they are carried out, in `scripts/*-commands.lua`. Times are Redis' clock, in ms.
 */
import type { ProcessCommand, ProcessResults } from './process-commands.js';
import type { RunCommand, RunEvents, RunResults } from './run-commands.js';
import type { SettingCommand, SettingResults } from './setting-commands.js';

/** [sid, owner, owner of its session, token, since, until] */
export type HolderView = [string, string, string, number, number, number];
/** [sid, owner, owner of its session, token, since, until, how it ended (EndReason)] */
export type PastView = [string, string, string, number, number, number, number];
/** [sid, owner, owner of its session, since] */
export type WaiterView = [string, string, string, number];
/** [name, holder, waiters, unlocks so far] */
export type LockView = [string, HolderView | false, number, number];
/** [sid, ttl, opened, deadline, owner, acquires] */
export type SessionView = [string, number, number, number, string, number];

/** [sid, since, the server that has its stream or '', what it is] */
export type InstanceView = [string, number, string, string];

export type Command =
  | ['open', sid: string, ttlMs: number, owner: string]
  | ['keep', sid: string, ttlMs: number]
  | ['reopen', sid: string, ttlMs: number, owner: string, highestToken: number, generation?: number]
  | ['close', sid: string]
  | ['session', sid: string]
  | ['sessions', after: string, limit: number]
  | AcquireCommand
  | AcquiresCommand
  | ReleasesCommand
  | ['claim', sid: string, requestId: string, names: string[], token: number, since: number, owner: string, generation?: number]
  | ['timeout', lockId: string]
  | ['cancel', lockId: string, onlyServer: string, generation?: number]
  | ['release', lockId: string]
  | ['extend', lockId: string, ttlMs: number]
  | ['force', name: string, token: number]
  | ['watch', names: string[], ms: number]
  | ['unwatch', names: string[]]
  | ['inspect', name: string]
  | ['list', prefix: string, after: string, limit: number, activeOnly: 0 | 1]
  | ['register_instance', sid: string, record: string, generation: number]
  | ['detach_instance', sid: string]
  | ['leave_instance', sid: string]
  | ['instance', sid: string]
  | ['instances', after: string, limit: number]
  | ['watch_instances', ms: number]
  | ['drain']
  | ['sweep']
  | PublishCommand
  | ['tails', feeds: string[]]
  | ['replay', feed: string, from: number, limit: number]
  | ['attend', members: [channel: string, member: string, sid: string][], ms: number]
  | ['depart', members: [channel: string, member: string][]]
  | ['presence', channel: string]
  | ProcessCommand
  | RunCommand
  | SettingCommand;

export type AcquireCommand = [
  'acquire',
  sid: string,
  requestId: string,
  names: string[],
  wait: 0 | 1,
  owner: string,
  context: string[] | false,
  leaseTtlMs: number,
  /** Its place in the queue in another epoch, or 0. */
  ticket?: number,
  /** Which of the client's connections it came by, or 0. */
  generation?: number,
];

/** Plain acquires that follow each other: of one name, under a session, not nested, new, and alike otherwise. */
export type AcquiresCommand = [
  'acquires',
  sid: string,
  wait: 0 | 1,
  owner: string,
  /** Which of the client's connections they came by, or 0. */
  generation: number,
  ...requestIdsAndNames: string[],
];
/** Releases that follow each other, of grants of one session. */
export type ReleasesCommand = ['releases', sid: string, ...requestIds: string[]];

export type PublishCommand = ['publish', publications: PublicationArgs[], windowMs: number];
export type PublicationArgs = [
  /** The channel, and the prefixes that cover it. */
  feeds: string[],
  data: string,
  key: string,
  idempotencyKey: string,
  policy: [size: number, ageMs: number, isFixed: 0 | 1],
];

/** Offsets before it: of its channel and of each prefix. */
export type EntryView = [channel: string, offset: number, before: number[], time: number, key: string, data: string];
/** [member, sid, since, owner of its session] */
export type MemberView = [string, string, number, string];

export type GrantedResult = ['granted', token: number, since: number, deadline: number, leaseTtlMs: number];
export type NotHeldResult = ['not_held', lockId: string, blockers: LockView[], how: number];
/** A number: the token of a grant that began `now` and ends at the deadline. */
export interface AcquiresResult {
  readonly now: number;
  readonly deadline: number;
  readonly each: readonly (number | AcquireResult)[];
}
/** Of each: for how long it was held, ms, followed by its name; else a whole result. */
export type ReleasesResult = readonly (number | string | ReleaseResult)[];
export type ReleaseResult = ['released', heldMs?: number, name?: string] | NotHeldResult;
export type AcquireResult =
  | GrantedResult
  | ['queued', ticket: number, since: number]
  | ['contended', blockers: LockView[]]
  | ['gone']
  | ['unconfirmed']
  | ['moved']
  | ['grace', leftMs: number]
  | ['reused', names: string[]]
  | ['not_held', lockId: string]
  | ['too_many_locks']
  | ['too_many_waiters', name: string]
  | ['deadlock', cycle: [name: string, holder: HolderView | false][]];

/** The result of each verb. */
export interface Results extends ProcessResults, RunResults, SettingResults {
  open: ['opened', now: number, deadline: number] | ['too_many_sessions'];
  keep: ['alive', deadline: number, revoked: string[]] | ['gone'] | ['unconfirmed'];
  reopen: ['opened', now: number, deadline: number] | ['too_many_sessions'] | ['gone'];
  claim: GrantedResult | ['conflict'] | ['gone'];
  close: ['closed'];
  session: ['session', SessionView] | ['gone'];
  sessions: ['sessions', SessionView[], last: string];
  acquire: AcquireResult;
  acquires: AcquiresResult;
  releases: ReleasesResult;
  timeout: GrantedResult | ['contended', blockers: LockView[]] | ['none'];
  cancel: ['left'] | ['released'] | ['none'] | ['moved'];
  release: ReleaseResult;
  extend: [...GrantedResult, names: string[]] | NotHeldResult;
  force: ['forced', PastView] | ['free'] | NotHeldResult;
  watch: ['watched', [LockView, PastView[]][]];
  unwatch: ['unwatched'];
  inspect: ['lock', LockView, WaiterView[], PastView[]];
  list: ['locks', LockView[], last: string];
  register_instance: ['registered', since: number] | ['gone'] | ['unconfirmed'] | ['moved'];
  detach_instance: ['detached'] | ['moved'];
  leave_instance: ['left'] | ['moved'];
  instance: ['instance', InstanceView] | ['none'];
  instances: ['instances', InstanceView[], last: string, changes: number];
  watch_instances: ['watching', changes: number];
  drain: ['drained', EngineEvent[], nextDeadline: number, left: number];
  publish: ['published', epoch: string, results: [offset: number, wasBefore: 0 | 1][]];
  tails: ['tails', epoch: string, tails: number[], end: number];
  replay: [
    'replayed',
    epoch: string,
    entries: EntryView[],
    last: number,
    more: 0 | 1,
    tail: number,
    end: number,
    size: number,
    ageMs: number,
  ];
  attend: ['attending', gone: string[], tooMany: string[]];
  depart: ['departed'];
  presence: ['present', members: MemberView[], count: number];
  sweep: ['swept', looked: number, sessions: number, held: number, waiting: number, running: number, pending: number];
}

export type Verb = keyof Results;
/** Those on events and presence. */
export type EventVerb = 'publish' | 'tails' | 'replay' | 'attend' | 'depart' | 'presence';
export type CommandOf<V extends Verb> = Extract<Command, [V, ...unknown[]]>;

/** What happened to the callers of this server, and the arguments of each. See `scripts/events.lua`. */
export interface EngineEvents extends RunEvents {
  granted: [lockId: string, token: number, since: number, deadline: number];
  dropped: [lockId: string, how: number];
  revoked: [sid: string, lockId: string];
  unlocked: [name: string, count: number, past: PastView, holder: HolderView | false];
  process: [name: string];
  instance: [changes: number, sid: string, view: InstanceView | false];
}

export type EngineEvent = { [T in keyof EngineEvents]: [T, ...EngineEvents[T]] }[keyof EngineEvents];

/** [handoffs, expired, forced, names held or -1, waiters or -1] */
export type BatchStats = [number, number, number, number, number];

export interface EngineLimits {
  readonly maxWaitersPerLock: number;
  readonly maxLocksPerSession: number;
  readonly maxSessions: number;
  readonly lockRetentionMs: number;
  readonly maxNamespaces: number;
  readonly maxRuns: number;
}

/** What a server believes when it asks. */
export interface Pass {
  readonly epoch: string;
  /** The life of Redis' data. */
  readonly run: string;
  /** Redis' time, ms; 0 if it is not known. */
  readonly expected: number;
  readonly toleranceMs: number;
}

export interface BatchRequest {
  readonly serverId: string;
  /** The highest token that this server has seen. */
  readonly seen: number;
  readonly limits: EngineLimits;
  readonly commands: readonly Command[];
  readonly pass: Pass;
}

/** What the server believed was not so; nothing was carried out. */
export interface Mistake {
  /** Redis' time, in ms. */
  readonly now: number;
  readonly mistaken: 'epoch' | 'clock';
}

export interface BatchReply {
  /** Redis' time, in ms. */
  now: number;
  /** The highest token given out so far, 0 if that was not looked at. */
  seq: number;
  /** The earliest deadline that this call set, 0 if it set none. */
  soonest: number;
  /** An ended session still has locks to give back. */
  more: boolean;
  results: unknown[];
  events: EngineEvent[];
  stats: BatchStats;
  /** Until when nothing is granted, in ms, or 0. */
  graceUntil: number;
}
