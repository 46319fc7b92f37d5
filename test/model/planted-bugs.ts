import type { Patch } from '../support/engine-harness.js';

export interface PlantedBug {
  readonly bug: string;
  readonly patches: readonly Patch[];
  /** Which histories must find it. */
  readonly foundBy: 'commands' | 'nesting' | 'scenarios';
}

const bug = (what: string, find: string | RegExp, replace: string, foundBy: PlantedBug['foundBy'] = 'commands'): PlantedBug => ({
  bug: what,
  patches: [{ find, replace }],
  foundBy,
});

/** Each breaks one promise of the engine by a change to its source. A change whose place is not found fails loudly. */
export const PLANTED_BUGS: readonly PlantedBug[] = [
  bug('nobody is served after a release', 'promote(dirty[i])', ''),
  bug(
    'a waiter that leaves does not let those behind it move up',
    'writeLock(name, lock)\n    dirty[#dirty + 1] = name',
    'writeLock(name, lock)',
  ),
  bug('tokens do not grow', 'seq = seq + 1', 'seq = seq + 0'),
  bug('tokens start again when Redis forgets', 'math.max(lastSeq, SEEN, NOW_US - 1)', 'math.max(lastSeq, NOW_US - 1)'),
  bug('tokens follow only the clock', 'math.max(lastSeq, SEEN, NOW_US - 1)', 'NOW_US - 1'),
  bug('a new acquire overtakes those who wait', 'return not queued or (', 'return true or ('),
  bug('a waiter for several names overtakes in one of the queues', 'if headOf(name) ~= id then return false end', ''),
  bug('one of several names is taken though it is held', /if locks\[i\]\[HOLDER\] ~= '' then return false end/, 'return true'),
  bug(
    'only one of several names is taken',
    'for i = 1, #locks do\n    locks[i][HOLDER] = id',
    'for i = 1, 1 do\n    locks[i][HOLDER] = id',
  ),
  bug('sessions never run out', '  expireDue()\n', ''),
  bug('a session runs out a moment too late', 'if deadline > NOW then\n      due', 'if deadline >= NOW then\n      due'),
  bug('it is not known that a session runs out before the others', 'if deadline < due then', 'if false then'),
  bug('a lease is not extended', 'setDeadline(sid, NOW + acquire[TTL])\n  local result', 'local result'),
  bug('a session is not kept alive', 'setDeadline(sid, NOW + fields[1])', ''),
  {
    bug: 'a session that has run out is served, the short way and the general way',
    patches: [
      { find: 'and alive(sid) and call(', replace: 'and call(' },
      { find: 'if alive((split(head))) then', replace: 'if true then' },
    ],
    foundBy: 'commands',
  },
  bug('what is left of a session is not told', 'unfinished = 1\n        return 0', 'return 0'),
  bug('a retry is a new acquire', 'if known then return repeated(id, known, names, wait) end', ''),
  bug('a retry through another server is answered to the first', 'acquire[CALLER] = SERVER\n    writeAcquire(id, acquire)', ''),
  bug(
    'a waiter that a retry elsewhere gave up is not told',
    'if acquire[CALLER] ~= SERVER then tell(acquire[CALLER]',
    'if false then tell(acquire[CALLER]',
  ),
  bug('a late timeout takes a waiter away from another server', "if acquire[CALLER] ~= SERVER then return {'none'} end", ''),
  bug('a revoked lock is told where the session was opened', "if fields[3] ~= SERVER then call('HSET'", "if false then call('HSET'"),
  bug('a retry with more names is taken for the same', 'if #a ~= #b then return false end', ''),
  bug('another request under the same id is taken for a retry', 'if not sameNames(acquire[NAMES], names) then', 'if false then'),
  bug('a late cancel takes a waiter away from another server', "if server ~= '' and acquire[CALLER] ~= server then", 'if false then'),
  bug(
    'a release of what is not held is told to be fine',
    "return {'not_held', id, blockers, how}\nend\n\n-- {claim",
    "return {'released'}\nend\n\n-- {claim",
  ),
  bug('a forced release hits the next holder', 'if token ~= 0 and token ~= acquire[SEQ] then', 'if false then'),
  bug('a revoked lock is not told', 'if fields[2] then tell(fields[2]', 'if false then tell(fields[2]'),
  bug('a revoked lock is told for ever', 'if not isLease(sid) then forgetRevoked(sid, id) end', ''),
  bug('a lease that has run out is found again', 'if known and not alive(sid) then', 'if false then'),
  bug('events for other servers are not left for them', "call('RPUSH', P .. 'outbox:' .. server, message)", ''),
  bug('events for other servers are not published', "call('PUBLISH', 'stafett:server:' .. server, message)", ''),
  bug(
    'an expiry is not told to those who watch',
    "if lock[WATCHERS] ~= '' then unlocked",
    "if lock[WATCHERS] ~= '' and how ~= EXPIRED then unlocked",
  ),
  bug(
    'unlocks are not counted',
    "lock[HOLDER], lock[UNLOCKS] = '', (lock[UNLOCKS] or 0) + 1",
    "lock[HOLDER], lock[UNLOCKS] = '', lock[UNLOCKS] or 0",
  ),
  bug('names are never forgotten', "call('DEL', P .. 'lock:' .. name)", ''),
  bug('names are forgotten too early', 'unusedSince + LIMITS[4] > NOW', 'unusedSince > NOW'),
  bug('waiters are not counted', 'nested = nested + 1 end\n  count(0, 1)', 'nested = nested + 1 end'),
  bug('a queue has no limit', 'if lock[QUEUED] >= LIMITS[1] then', 'if false then'),
  bug('what waiters hold leaks', "call('SREM', P .. 'context:' .. lock, id)", ''),
  bug('the short way takes a name that is held', 'local free = queued == 0 and (', 'local free = queued == 0 or ('),
  bug('the short way overtakes those who wait', 'local free = queued == 0 and (', 'local free = ('),
  bug('the short way makes those wait who do not want to', 'if not free and (wait == 0 or', 'if not free and ('),
  bug('a queue has no limit on the short way', 'queued >= LIMITS[1])', 'false)'),
  bug('the short way does not count who waits', 'unlocks, queued + 1)', 'unlocks, queued)'),
  bug('the short way grants under a session that has run out', 'return not inGrace and alive(sid)', 'return not inGrace'),
  bug('the short way does not know a retry', 'return nil end -- a repetition', 'return number end'),
  bug('the short way serves nobody after a release', 'if queued > 0 then\n    heir', 'if false then\n    heir'),
  bug('the short way tells nobody of a release', 'if #packed > LOCK_HOLDER + #sid', 'if #packed > 1000 + #sid'),
  bug('the short way hands over what its heir waits for among others', 'string.sub(packed, rest) ~= name then', 'false then'),
  bug('the short way does not tell its heir', "tell(server, {'granted', id, token", "tell('', {'granted', id, token"),
  bug('the heir of the short way stays in the queue', "call('ZREM', P .. 'queue:' .. name, id)\n  call('HSET'", "call('HSET'"),
  bug('reserved names are not looked at on the short way', 'count(1, -1)\n  serveReserved()', 'count(1, -1)', 'scenarios'),
  bug('a nested acquire does not pass a head that waits for it', 'head ~= id and not waitsFor(head, held, {})', 'head ~= id', 'nesting'),
  bug('a nested acquire passes everybody', 'head ~= id and not waitsFor(head, held, {})', 'false', 'nesting'),
  bug('passing looks at holders only', 'if head and head ~= id and waitsFor(head, held, seen) then return true end', '', 'nesting'),
  bug('nested acquires that wait are not counted', 'nested = nested + 1', '', 'nesting'),
  bug('reserved names are not looked at again', 'local again = nested > 0 and not inGrace', 'local again = false', 'nesting'),
  bug('reserved names are not looked at when somebody leaves', 'dirty = {}\n    serveReserved()', 'dirty = {}', 'scenarios'),
  bug('reserved names are not looked at when a nested acquire queues', 'serveReserved() -- those', '--', 'scenarios'),
  bug(
    'reserved names are looked at once only',
    'serveNested(id, acquire, locks) then\n        again = true',
    'serveNested(id, acquire, locks) then',
    'scenarios',
  ),
  bug('true cycles of holds are not refused', 'local cycle = context and', 'local cycle = false and', 'nesting'),
  bug(
    'cycles are refused that are none',
    'if held[holder] then return {{name, holder}} end',
    'if true then return {{name, holder}} end',
    'nesting',
  ),
  bug('only cycles of two are refused', 'local rest = acquire and holdCycle(acquire[NAMES], held, seen)', 'local rest = false', 'nesting'),
];
