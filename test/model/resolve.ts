import type { AcquireCommand, Command } from '../../server/src/engine/commands.js';
import type { Acquire } from '../support/lock-model.js';
import type { ModelRun } from './model-run.js';
import { type Advance, LEASES, NAMES, type Op, SLOTS, type Step, THREADS } from './steps.js';

/** Acquires that a number can mean, the latest ones. */
const RECENT = 16;
/** Picks below this one mean what is live, if there is any. */
const MOSTLY = 12;
const UNKNOWN: AcquireCommand = ['acquire', 's0-0', 'unknown', [NAMES[0]], 1, '', false, 0];
const UNKNOWN_LEASE: AcquireCommand = ['acquire', '~unknown', '0', [NAMES[0]], 1, '', false, 1_000];

/** Turns what steps say by number into commands: which session, lock or token is meant at this moment. */
export class Resolver {
  readonly #run: ModelRun;
  readonly #generations: number[] = Array.from({ length: SLOTS + LEASES }, () => 0);
  readonly #closed = new Set<string>();
  readonly #acquires: AcquireCommand[] = [];
  #requests = 0;

  constructor(run: ModelRun) {
    this.#run = run;
  }

  async advance({ advance }: Step): Promise<void> {
    if (advance.by === 'lose') await this.#run.lose(advance.ms * 1000);
    else this.#run.advance(this.#us(advance));
  }

  commands({ ops, server }: Step): Command[] {
    return ops.flatMap((op) => [...this.#opening(op), this.#command(op, server)]);
  }

  #us(advance: Exclude<Advance, { by: 'lose' }>): number {
    const { model, harness } = this.#run;
    if (advance.by === 'us') return advance.us;
    if (advance.by === 'ms') return advance.ms * 1000;
    if (advance.by === 'no') return 0;
    const next = Math.min(...[...model.sessions.values()].map(({ deadline }) => deadline));
    return Number.isFinite(next) ? Math.max(0, (next + advance.ms) * 1000 - harness.nowUs) : 0;
  }

  /** Who wants to wait for a lock opens a session first, if that of the slot is over. */
  #opening(op: Op): Command[] {
    if (op.op !== 'acquire' || op.wait === 0 || this.#run.model.alive(this.#sid(op.slot))) return [];
    return [['open', this.#newSid(op.slot), 3_000, `owner of ${op.slot}`]];
  }

  #command(op: Op, server: string): Command {
    const { model } = this.#run;
    switch (op.op) {
      case 'open':
        return ['open', this.#newSid(op.slot), op.ttlMs, `owner of ${op.slot}`];
      case 'keep':
        return ['keep', this.#sid(op.slot), 0];
      case 'close':
        return this.#close(this.#sid(op.slot));
      case 'acquire':
        return op.nested ? this.#nested(op) : this.#acquire(this.#sid(op.slot), op, false, `t${op.thread}-`);
      case 'strange-context':
        return this.#acquire(
          this.#sid(op.slot),
          op,
          op.picks.map((pick) => this.#picked(pick)),
          'x-',
        );
      case 'lease':
        return this.#lease(op);
      case 'repeat':
        return this.#repeat(op);
      case 'cancel':
        return ['cancel', this.#waiting(op.pick), this.#only(op.only, this.#waiting(op.pick), server)];
      case 'timeout':
        return ['timeout', this.#live(op.pick, ({ granted, caller }) => !granted && (caller === server || op.pick < 2))];
      case 'release':
        return ['release', this.#live(op.pick)];
      case 'release-holder':
        return ['release', model.peek(nameOf(op.name)).holder ?? this.#picked(op.name)];
      case 'release-revoked':
        return ['release', this.#revoked(op.slot) ?? this.#picked(op.slot)];
      case 'release-unknown':
        return ['release', `${this.#sid(op.slot)}.unknown`];
      case 'extend':
        return ['extend', this.#lockOfLease(op.pick), op.ttlMs];
      case 'keep-lease':
        return ['keep', this.#lockOfLease(op.pick).slice(0, -'.0'.length), op.ttlMs];
      case 'force':
        return ['force', nameOf(op.name), this.#token(nameOf(op.name), op.token)];
      case 'watch':
        return ['watch', op.names.map(nameOf), op.ms];
      case 'unwatch':
        return ['unwatch', op.names.map(nameOf)];
      case 'session':
        return ['session', this.#sid(op.slot)];
      case 'list':
        return ['list', op.prefix, NAMES[op.after] ?? '', op.limit, op.active];
      case 'sessions':
        return ['sessions', op.after === 0 ? '' : this.#sid(op.after), op.limit];
      case 'drain':
      case 'sweep':
        return [op.op];
    }
  }

  #sid(slot: number): string {
    return `s${slot}-${this.#generations[slot]}`;
  }

  /** The slot's session, or another if that one is over. A session's id is never used again. */
  #newSid(slot: number): string {
    const sid = this.#sid(slot);
    if (!this.#run.model.alive(sid) || this.#closed.has(sid)) (this.#generations[slot] as number)++;
    return this.#sid(slot);
  }

  #close(sid: string): Command {
    this.#closed.add(sid);
    return ['close', sid];
  }

  #acquire(sid: string, op: { names: number[]; wait: 0 | 1 }, context: string[] | false, kind: string): AcquireCommand {
    const rid = `${kind}${this.#requests++}`;
    return this.#noted(['acquire', sid, rid, op.names.map(nameOf), op.wait, `${sid} ${rid}`, context, 0]);
  }

  /** By the next thread, from the given one on, that holds something; its context is all that it holds. Mostly asks for more. */
  #nested(op: { slot: number; thread: number; names: number[]; wait: 0 | 1 }): AcquireCommand {
    const live = [...this.#run.model.acquires.values()];
    for (let i = 0; i < SLOTS * THREADS; i++) {
      const thread = (op.slot * THREADS + op.thread + i) % (SLOTS * THREADS);
      const sid = this.#sid(Math.floor(thread / THREADS));
      const kind = `t${thread % THREADS}-`;
      const held = live.filter(({ id, granted }) => granted && id.startsWith(`${sid}.${kind}`));
      if (held.length === 0) continue;
      const more = op.names.filter((name) => !held.some(({ names }) => names.includes(nameOf(name))));
      const names = more.length > 0 ? more : op.names;
      return this.#acquire(
        sid,
        { ...op, names },
        held.map(({ id }) => id),
        kind,
      );
    }
    return this.#acquire(this.#sid(op.slot), op, false, `t${op.thread}-`);
  }

  /** A lease that is over may be taken again under its old id. */
  #lease(op: { slot: number; names: number[]; wait: 0 | 1; ttlMs: number }): AcquireCommand {
    const slot = SLOTS + op.slot;
    const isLive = this.#run.model.deadlineOf(`~l${slot}-${this.#generations[slot]}`) > this.#run.now;
    if (isLive || op.names.length > 1) (this.#generations[slot] as number)++;
    const sid = `~l${slot}-${this.#generations[slot]}`;
    return this.#noted(['acquire', sid, '0', op.names.map(nameOf), op.wait, `lease ${sid}`, false, op.ttlMs]);
  }

  #noted(command: AcquireCommand): AcquireCommand {
    this.#acquires.push(command);
    return command;
  }

  #repeat({ pick, wait, otherNames }: { pick: number; wait: 0 | 1; otherNames: boolean }): Command {
    const id = this.#live(pick);
    const known = this.#acquires.findLast((each) => idOf(each) === id);
    const [, sid, rid, names, , owner, context, ttlMs] = known ?? UNKNOWN;
    const other = nameOf(pick % NAMES.length);
    const asked = !otherNames ? names : pick % 2 === 0 || names.includes(other) ? [other] : [...names, other];
    return ['acquire', sid, rid, asked, wait, owner, context, ttlMs];
  }

  /** One of the latest acquires, whatever has become of it. */
  #pickedCommand(pick: number): AcquireCommand {
    const recent = this.#acquires.slice(-RECENT);
    return recent[recent.length - 1 - (pick % recent.length)] ?? UNKNOWN;
  }

  #picked(pick: number): string {
    return idOf(this.#pickedCommand(pick));
  }

  /** Mostly one of the live ones. */
  #live(pick: number, wanted: (acquire: Acquire) => boolean = () => true): string {
    const live = [...this.#run.model.acquires.values()].filter(wanted);
    return (pick < MOSTLY && live[pick % live.length]?.id) || this.#picked(pick);
  }

  #waiting(pick: number): string {
    return this.#live(pick, ({ granted }) => !granted);
  }

  #lockOfLease(pick: number): string {
    const leases = this.#acquires.filter(([, sid]) => sid.startsWith('~')).slice(-LEASES * 2);
    const live = leases.filter((lease) => pick >= MOSTLY || this.#run.model.acquires.has(idOf(lease)));
    return idOf(live[pick % live.length] ?? leases[0] ?? UNKNOWN_LEASE);
  }

  /** A lock that was taken from the session by force, and of which its client has not taken note. */
  #revoked(slot: number): string | undefined {
    return this.#run.model.sessions.get(this.#sid(slot))?.revoked.at(-1);
  }

  #only(only: 'any' | 'own' | 'caller', id: string, server: string): string {
    if (only === 'any') return '';
    return only === 'own' ? server : (this.#run.model.acquires.get(id)?.caller ?? server);
  }

  #token(name: string, token: 'none' | 'right' | 'wrong'): number {
    const { holder } = this.#run.model.peek(name);
    const right = (holder !== undefined && this.#run.model.acquires.get(holder)?.seq) || 1;
    return token === 'none' ? 0 : right + (token === 'wrong' ? 1 : 0);
  }
}

const nameOf = (index: number): string => NAMES[index] as string;
const idOf = ([, sid, rid]: AcquireCommand): string => `${sid}.${rid}`;
