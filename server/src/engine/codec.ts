import { Packr } from 'msgpackr';
import type { BatchReply, BatchRequest, BatchStats, Command, EngineEvent, Mistake } from './commands.js';
import { joinCommands, splitResults } from './joined-commands.js';
import type { ChangeView } from './setting-commands.js';

/** Names that one script call gives back at the most for sessions that have ended; the rest follows in the next call. */
const EXPIRE_BUDGET = 300;

const packr = new Packr({ useRecords: false, int64AsType: 'number', encodeUndefinedAsNil: true });

export function encodeBatch(request: BatchRequest): Buffer {
  const { serverId, seen, limits, commands, pass } = request;
  const { maxWaitersPerLock, maxLocksPerSession, maxSessions, lockRetentionMs, maxRuns } = limits;
  const numbers = [maxWaitersPerLock, maxLocksPerSession, maxSessions, lockRetentionMs, EXPIRE_BUDGET, maxRuns];
  return packr.pack([serverId, seen, numbers, joinCommands(commands), [pass.epoch, pass.run, pass.expected, pass.toleranceMs]]);
}

type Packed = [number, number, number, number, unknown[], EngineEvent[], BatchStats, number];

/** @param commands those that it is the reply to. */
export function decodeBatch(reply: Buffer, commands: readonly Command[]): BatchReply | Mistake {
  const packed = packr.unpack(reply) as Packed | [number, Mistake['mistaken']];
  if (packed.length === 2) return { now: packed[0], mistaken: packed[1] };
  const [now, seq, soonest, more, results, events, stats, graceUntil] = packed;
  const each = splitResults(commands, list(results), now);
  return { now, seq, soonest, more: more === 1, results: each, events: list(events), stats, graceUntil };
}

/** What another server's call left on our channel: the epoch's prefix and the events. */
export function decodeMessage(message: Buffer): [prefix: string, events: EngineEvent[]] {
  const [prefix, events] = packr.unpack(message) as [string, EngineEvent[]];
  return [prefix, list(events)];
}

/** What a channel of events carries. An offset of 0: it is not kept; of -1: no publication, but a change of who is present. */
export interface PublicationMessage {
  readonly epoch: string;
  readonly offset: number;
  readonly before: number[];
  readonly time: number;
  readonly key: string;
  readonly data: string;
}

export function decodePublication(message: Buffer): PublicationMessage {
  const [epoch, offset, before, time, key, data] = packr.unpack(message) as [string, number, number[], number, string, string];
  return { epoch, offset, before, time, key, data };
}

/** What is published on the channel of settings: the epoch's prefix, and a change; false: look again at everything. */
export function decodeSettingMessage(message: Buffer): [prefix: string, change: ChangeView | false] {
  return packr.unpack(message) as [string, ChangeView | false];
}

/** Lua has one kind of table: an empty list may come as an empty map. */
export function list<T>(value: T[]): T[] {
  return Array.isArray(value) ? value : [];
}
