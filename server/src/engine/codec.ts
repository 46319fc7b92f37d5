import { Packr } from 'msgpackr';
import type { BatchReply, BatchStats, Command, EngineEvent, EngineLimits } from './commands.js';

/** Names that one script call gives back at the most for sessions that have ended; the rest follows in the next call. */
const EXPIRE_BUDGET = 300;

const packr = new Packr({ useRecords: false, int64AsType: 'number', encodeUndefinedAsNil: true });

export function encodeBatch(serverId: string, seen: number, limits: EngineLimits, commands: readonly Command[]): Buffer {
  const { maxWaitersPerLock, maxLocksPerSession, maxSessions, lockRetentionMs } = limits;
  return packr.pack([serverId, seen, [maxWaitersPerLock, maxLocksPerSession, maxSessions, lockRetentionMs, EXPIRE_BUDGET], commands]);
}

export function decodeBatch(reply: Buffer): BatchReply {
  const [now, seq, soonest, more, results, events, stats] = packr.unpack(reply) as [
    number,
    number,
    number,
    number,
    unknown[],
    EngineEvent[],
    BatchStats,
  ];
  return { now, seq, soonest, more: more === 1, results: list(results), events: list(events), stats };
}

/** What another server's call left on our channel: the namespace's prefix and the events. */
export function decodeMessage(message: Buffer): [prefix: string, events: EngineEvent[]] {
  const [prefix, events] = packr.unpack(message) as [string, EngineEvent[]];
  return [prefix, list(events)];
}

/** Lua has one kind of table: an empty list may come as an empty map. */
function list<T>(value: T[]): T[] {
  return Array.isArray(value) ? value : [];
}
