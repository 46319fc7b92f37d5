-- What: the records of acquires and of names, packed by `struct`, which needs no table in between.

-- An acquire, from its queueing to its end: under acquires:<sid>, by its request id.
local STATE, SEQ, SINCE, TTL, CALLER, OWNER, CONTEXT, NAMES = 1, 2, 3, 4, 5, 6, 7, 8
local WAITING, GRANTED = 1, 2
local RELEASED, EXPIRED, FORCED, CLOSED = 1, 2, 3, 4 -- EndReason of lock.proto
-- Behind it stand the names, joined by NUL, which no name has; the context is joined by spaces, which no lock id has.
-- Padded to more than 64 bytes, by a large number (each `x` would be read on its own): Redis walks through a hash of smaller values to
-- find one, else it looks them up.
local ACQUIRE = '<BdddI32sss'
local WHOLE_ACQUIRE = ACQUIRE .. 'c0' -- with the names

-- A name: field s of lock:<name>. The fields 0 to 9 are its last holders.
local HOLDER, UNLOCKS, QUEUED, WATCHERS = 1, 2, 3, 4 -- holder '' if free; unlocks false if the name is new
local LOCK = '<dds' -- behind it stand the watchers
local WHOLE_LOCK = LOCK .. 'c0'
local LOCK_NUMBERS, LOCK_HOLDER = '<dd', 17 -- what comes first, and the byte after it

-- A past holder: {who, owner, owner of its session, token, since, until, how it ended}
local PAST = '<Bdddsss'

-- Remembered for the call: putting it together again costs more than looking it up.
local function acquiresKey(sid)
  local key = acquiresKeys[sid]
  if not key then
    key = P .. 'acquires:' .. sid
    acquiresKeys[sid] = key
  end
  return key
end

local function acquireCount(sid)
  local count = acquireCounts[sid]
  if not count then
    count = call('HLEN', acquiresKey(sid))
    acquireCounts[sid] = count
  end
  return count
end

local function splitList(joined, separator, item)
  if joined == '' then return false end
  if not string.find(joined, separator, 1, true) then return {joined} end
  local list = {}
  for each in string.gmatch(joined, item) do list[#list + 1] = each end
  return list
end

local function readAcquire(id)
  local sid, rid = split(id)
  local packed = call('HGET', acquiresKey(sid), rid)
  if not packed then return false end
  local state, seqNo, since, ttl, _, caller, owner, context, names = struct.unpack(ACQUIRE, packed)
  context, names = splitList(context, ' ', '[^ ]+'), splitList(string.sub(packed, names), '\0', '[^%z]+')
  return {state, seqNo, since, ttl, caller, owner, context, names}
end

local function writeAcquire(id, acquire)
  local sid, rid = split(id)
  local context, names = acquire[CONTEXT], acquire[NAMES]
  context = context and table.concat(context, ' ') or ''
  names = #names == 1 and names[1] or table.concat(names, '\0')
  local packed = struct.pack(WHOLE_ACQUIRE, acquire[STATE], acquire[SEQ], acquire[SINCE], acquire[TTL], 0,
    acquire[CALLER], acquire[OWNER], context, names)
  local added = call('HSET', acquiresKey(sid), rid, packed)
  if acquireCounts[sid] then acquireCounts[sid] = acquireCounts[sid] + added end
end

local function removeAcquire(id)
  local sid, rid = split(id)
  call('HDEL', acquiresKey(sid), rid)
  if acquireCounts[sid] then acquireCounts[sid] = acquireCounts[sid] - 1 end
  if isLease(sid) then
    call('ZREM', P .. 'deadlines', sid)
    deadlines[sid] = 0
  end
end

local function readLock(name)
  local packed = call('HGET', P .. 'lock:' .. name, 's')
  if not packed then return {'', false, 0, ''} end
  local unlocks, queued, holder, rest = struct.unpack(LOCK, packed)
  return {holder, unlocks, queued, string.sub(packed, rest)}
end

local function packLock(lock)
  return struct.pack(WHOLE_LOCK, lock[UNLOCKS], lock[QUEUED], lock[HOLDER], lock[WATCHERS])
end

-- A name that is new is indexed, and looked at when it might be forgotten.
local function writeLock(name, lock)
  if not lock[UNLOCKS] then
    lock[UNLOCKS] = 0
    call('ZADD', P .. 'names', 0, name)
    call('ZADD', P .. 'retention', NOW + LIMITS[4], name)
  end
  call('HSET', P .. 'lock:' .. name, 's', packLock(lock))
end

local function readLocks(names)
  local locks = {}
  for i = 1, #names do locks[i] = readLock(names[i]) end
  return locks
end

local function allFree(locks)
  for i = 1, #locks do
    if locks[i][HOLDER] ~= '' then return false end
  end
  return true
end

-- Takes free names for the acquire.
local function hold(id, acquire, locks)
  for i = 1, #locks do
    locks[i][HOLDER] = id
    writeLock(acquire[NAMES][i], locks[i])
    noteHeld(acquire[NAMES][i], id)
  end
  writeAcquire(id, acquire)
  count(#acquire[NAMES], 0)
end

local function packPast(past)
  local sid, owner, sessionOwner, token, since, untilTime, how = unpack(past)
  return struct.pack(PAST, how, token, since, untilTime, sid, owner, sessionOwner)
end

local function unpackPast(packed)
  local how, token, since, untilTime, sid, owner, sessionOwner = struct.unpack(PAST, packed)
  return {sid, owner, sessionOwner, token, since, untilTime, how}
end
