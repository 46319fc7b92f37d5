import { list } from '../engine/codec.js';
import type { MemberView } from '../engine/commands.js';
import type { NamespaceEngine } from '../engine/namespace-engine.js';
import type { PresenceMember } from '../gen/stafett/v1/event.js';
import { toTimestamp } from '../rpc/fields.js';
import { sessionNotFound } from '../sessions/refusals.js';
import { tooManySubscriptions } from './refusals.js';

/** How long a member outlives its server, and how often the server says that it is there, ms. */
const LEASE_MS = 9_000;
const RENEW_MS = 3_000;
/** Members in one renewal. */
const RENEW_MAX = 500;

interface Attendance {
  readonly channel: string;
  readonly sessionId: string;
  readonly onGone: (error: Error) => void;
}

export interface PresenceWatcher {
  onJoin(member: PresenceMember): void;
  onLeave(member: PresenceMember): void;
}

/** Who is subscribed to a channel, as far as those who want to know were told. */
class Board {
  readonly watchers = new Set<PresenceWatcher>();
  members = new Map<string, PresenceMember>();
  reading = false;
  again = false;
}

/** Who is subscribed to the channels of one namespace: those of this server are kept in Redis, for those who want to know. */
export class Presence {
  readonly #engine: NamespaceEngine;
  readonly #attending = new Map<string, Attendance>();
  readonly #boards = new Map<string, Board>();
  #timer: NodeJS.Timeout | undefined;

  constructor(engine: NamespaceEngine) {
    this.#engine = engine;
    const renew = () => this.#renew();
    engine.events.on('reask', renew).on('epoch', renew);
  }

  /**
   * Shows a member until `depart`.
   * @param onGone told when its session has ended
   * @throws {StafettError} SESSION_NOT_FOUND, TOO_MANY_SUBSCRIPTIONS, REDIS_UNAVAILABLE
   */
  async attend(memberId: string, channel: string, sessionId: string, onGone: (error: Error) => void): Promise<void> {
    await this.#attend([[channel, memberId, sessionId]], onGone);
    this.#attending.set(memberId, { channel, sessionId, onGone });
    this.#keepTime();
  }

  depart(memberId: string): void {
    const attendance = this.#attending.get(memberId);
    if (!attendance) return;
    this.#attending.delete(memberId);
    this.#engine.submit<'depart'>(['depart', [[attendance.channel, memberId]]], () => {}); // if it fails, its lease ends
    this.#keepTime();
  }

  async members(channel: string): Promise<{ members: PresenceMember[]; count: number }> {
    const [, views, count] = await this.#engine.run<'presence'>(['presence', channel]);
    return { members: list(views).map((view) => toMember(channel, view)), count };
  }

  /** Tells a watcher who is there, and then who comes and goes. Returns what ends it. */
  watch(channel: string, watcher: PresenceWatcher): () => void {
    const board = this.#boards.get(channel) ?? new Board();
    this.#boards.set(channel, board);
    board.watchers.add(watcher);
    for (const member of board.members.values()) watcher.onJoin(member);
    this.changed(channel);
    this.#keepTime();
    return () => {
      board.watchers.delete(watcher);
      if (board.watchers.size === 0) this.#boards.delete(channel);
      this.#keepTime();
    };
  }

  /** Somebody came or went, perhaps. */
  changed(channel: string): void {
    const board = this.#boards.get(channel);
    if (board?.reading) board.again = true;
    else if (board) void this.#read(channel, board);
  }

  async #read(channel: string, board: Board): Promise<void> {
    board.reading = true;
    do {
      board.again = false;
      const read = await this.members(channel).catch(() => undefined); // the next renewal tries again
      if (read) update(board, read.members);
    } while (board.again);
    board.reading = false;
  }

  #renew(): void {
    for (const channel of this.#boards.keys()) this.changed(channel);
    const all = [...this.#attending].map(([id, { channel, sessionId }]): [string, string, string] => [channel, id, sessionId]);
    for (let i = 0; i < all.length; i += RENEW_MAX) this.#attend(all.slice(i, i + RENEW_MAX)).catch(() => {});
  }

  async #attend(members: [channel: string, id: string, sessionId: string][], onGone?: (error: Error) => void): Promise<void> {
    const [, gone, tooMany] = await this.#engine.run<'attend'>(['attend', members, LEASE_MS]);
    for (const id of [...list(gone), ...list(tooMany)]) {
      const sessionId = members.find(([, member]) => member === id)?.[2] ?? '';
      const error = list(gone).includes(id)
        ? sessionNotFound(sessionId)
        : tooManySubscriptions('too many subscribers of this channel are present');
      if (onGone) throw error;
      this.#attending.get(id)?.onGone(error);
      this.#attending.delete(id);
    }
  }

  #keepTime(): void {
    const isNeeded = this.#attending.size > 0 || this.#boards.size > 0;
    if (isNeeded) this.#timer ??= setInterval(() => this.#renew(), RENEW_MS).unref();
    if (isNeeded || !this.#timer) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

function update(board: Board, present: PresenceMember[]): void {
  const before = board.members;
  board.members = new Map(present.map((member) => [member.memberId, member]));
  for (const [id, member] of before) {
    if (!board.members.has(id)) for (const watcher of board.watchers) watcher.onLeave(member);
  }
  for (const [id, member] of board.members) {
    if (!before.has(id)) for (const watcher of board.watchers) watcher.onJoin(member);
  }
}

function toMember(channel: string, [memberId, sessionId, since, owner]: MemberView): PresenceMember {
  const [client = '', , host = ''] = owner === '' ? [] : (JSON.parse(owner) as string[]);
  return { channel, memberId, sessionId, client, host, joinTime: toTimestamp(since) };
}
