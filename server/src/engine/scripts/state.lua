-- What: what all parts share: time, the sequence of tokens, sessions' deadlines, counters. The functions of the library
--   live as long as it is loaded; what belongs to one call is set anew by `begin`.
-- Keys, after the prefix P:
--   deadlines         zset: session -> when it runs out (ms)
--   sessions          zset, lexical: open sessions, without leases
--   session:<sid>     hash: t ttl, o owner, b opened, v its server, f revoked lock ids, e how it ended, g its client's
--                     latest connection; of an instance: i what it is, is since when, iv its server (see instances.lua)
--   acquires:<sid>    hash: request id -> acquire (see acquires.lua)
--   lock:<name>       hash: s its state (see acquires.lua), 0..9 the last holders
--   queue:<name>      zset: ticket -> waiting acquire
--   nested:<name>     zset: ticket -> waiting acquire whose context holds locks
--   context:<lock>    set: waiting acquires whose context holds this grant
--   reserved          zset: ticket -> nested waiting acquires whose names are all free, but reserved for others
--   names             zset, lexical: every remembered name
--   retention         zset: name -> when to look whether it can be forgotten (ms)
--   ended:<sid>       hash: request id -> {how, names}: recently ended grants, with a TTL
--   outbox:<server>   list: events for another server, with a TTL
--   instances         zset, lexical: the sessions that are instances
--   instance-watchers hash: server -> until when it is told of instances (ms); seq: how many changes there were
--   graced            set: names that were queued for during the grace period
--   tail:<feed>       string: the last offset of a channel, with size and age (ms) of its history, or of a prefix; has a TTL
--   history:<channel> stream: offset -> publication; has a TTL
--   publications      stream: offset -> channel, of the last publications that are kept; has a TTL
--   published:<channel>\0<key>  string: the offset of a publication with an idempotency key; has a TTL
--   presence:<channel> hash: member -> {session, since, owner}; has a TTL
--   present           zset: channel\0member -> until when it is present (ms)
-- and those of managed processes (see slots.lua).
--   setting…          see settings.lua
--   Those of runs are in runs.lua and runners.lua.

-- Globals are out of reach while a library is loaded, and found by a detour when it runs: the first call makes them locals.
local function globals()
  return redis.call, cmsgpack, ipairs, math, next, pairs, string, struct, table, tonumber, unpack
end
local call, cmsgpack, ipairs, math, next, pairs, string, struct, table, tonumber, unpack
local function makeLocal()
  if call then return end
  call, cmsgpack, ipairs, math, next, pairs, string, struct, table, tonumber, unpack = globals()
end

local HISTORY = 10 -- last holders remembered for each name
-- Their fields. Redis writes a number down by way of `printf`, which takes half as long as all else that the command does.
local HISTORY_FIELDS = {[0] = '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'}
local ENDED_TTL_MS = 600000 -- how long an ended grant is remembered, to answer a late release
local LEASE_ENDED_TTL_MS = 60000
local HANDOFFS, EXPIRED_COUNT, FORCED_COUNT, HELD_COUNT, WAITING_COUNT = 1, 2, 3, 4, 5 -- in stats

local P, SERVER, SEEN, LIMITS, NOW, NOW_US
local lastSeq, held, waiting, nested, due -- see `COUNTS`
local seq -- the highest token or ticket, once this call has looked at it
local counted -- has this call changed one of these?
local stats
local deadlines, owners, acquireCounts, acquiresKeys, generations -- of the sessions met by this call
local soonest -- the earliest deadline that this call set, or 0
local sids, rids -- of the lock ids met by this call
local events = {} -- server -> list; this and the next two are empty again when a call ends
local dirty = {} -- names whose holder or queue changed, for settle()
local unlocked = {} -- {name, count, watchers, past} of the last command, for settle()
local unfinished -- 1: there is more to do than fits into one call: an ended session still has something to give back, ...
local changedProcesses -- set of names, for tellProcesses()
local grace, inGrace -- until when nothing is granted (ms), or 0; is it so now?

-- Field s of the gate: the last token or ticket; how many names are held and how many acquires wait, in the namespace; how many
-- of those are nested; no session or lease runs out before then (ms). One record, read with the gate and written once in each call.
local COUNTS = '<ddddd'

local function begin(prefix, packedRequest)
  makeLocal()
  P = prefix
  local request = cmsgpack.unpack(packedRequest)
  SERVER, SEEN, LIMITS = request[1], request[2], request[3]
  local clock = call('TIME')
  NOW_US = clock[1] * 1000000 + clock[2]
  NOW = math.floor(NOW_US / 1000)
  seq, counted, stats = nil, false, {0, 0, 0, -1, -1}
  deadlines, soonest, owners, acquireCounts, acquiresKeys, generations = {}, 0, {}, {}, {}, {}
  sids, rids = {}, {}
  if next(events) or #dirty > 0 or #unlocked > 0 then events, dirty, unlocked = {}, {}, {} end -- left by a call that failed
  unfinished = 0
  if not changedProcesses or next(changedProcesses) then changedProcesses = {} end
  return request[4], request[5]
end

-- Tokens and tickets come from one sequence: above the last one, above all that the server has seen, never below the clock.
local function readState()
  seq, counted = math.max(lastSeq, SEEN, NOW_US - 1), true
end

local function nextSeq()
  if not seq then readState() end
  seq = seq + 1
  return seq
end

-- The next token or ticket is higher.
local function atLeast(number)
  if not seq then readState() end
  seq = math.max(seq, number)
end

local function count(newlyHeld, newlyWaiting)
  held, waiting, counted = held + newlyHeld, waiting + newlyWaiting, true
end

local function readCounts(packed)
  if not packed then
    lastSeq, held, waiting, nested, due = 0, 0, 0, 0, 0
  else
    lastSeq, held, waiting, nested, due = struct.unpack(COUNTS, packed)
  end
end

local function writeCounts(gate)
  if not counted then return end
  stats[HELD_COUNT], stats[WAITING_COUNT] = held, waiting
  call('HSET', gate, 's', struct.pack(COUNTS, seq or lastSeq, held, waiting, nested, due))
end

-- A lease is a session of its own, for one acquire: its id begins with '~'.
local function isLease(sid)
  return string.byte(sid) == 126
end

-- 'session.request' -> session, request. Remembered for the call: it is asked several times for each lock.
local function split(id)
  local sid = sids[id]
  if sid then return sid, rids[id] end
  local dot = string.find(id, '.', 1, true)
  sid = string.sub(id, 1, dot - 1)
  local rid = string.sub(id, dot + 1)
  sids[id], rids[id] = sid, rid
  return sid, rid
end

local function join(sid, rid)
  local id = sid .. '.' .. rid
  sids[id], rids[id] = sid, rid
  return id
end

local function deadlineOf(sid)
  local deadline = deadlines[sid]
  if deadline == nil then
    deadline = tonumber(call('ZSCORE', P .. 'deadlines', sid)) or 0
    deadlines[sid] = deadline
  end
  return deadline
end

local function alive(sid)
  return deadlineOf(sid) > NOW
end

-- Does the command come by the client's latest connection? What an earlier one still had on its way may be over for the
-- client, and must not begin anew. 0: it does not count its connections.
local function isLatest(sid, generation)
  if not generation or generation == 0 then return true end
  local latest = generations[sid]
  if not latest then
    latest = tonumber(call('HGET', P .. 'session:' .. sid, 'g')) or 0
    generations[sid] = latest
  end
  if generation > latest and alive(sid) then
    call('HSET', P .. 'session:' .. sid, 'g', generation)
    generations[sid] = generation
  end
  return generation >= latest
end

local function setDeadline(sid, deadline)
  deadlines[sid] = deadline
  if deadline > NOW and (soonest == 0 or deadline < soonest) then soonest = deadline end
  if deadline < due then due, counted = deadline, true end
  call('ZADD', P .. 'deadlines', deadline, sid)
end

local function ownerOf(sid)
  local owner = owners[sid]
  if not owner then
    owner = not isLease(sid) and call('HGET', P .. 'session:' .. sid, 'o') or ''
    owners[sid] = owner
  end
  return owner
end
