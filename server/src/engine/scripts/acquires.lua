-- What: the records of acquires and of names. Packed by `struct`: it costs a fourth of what cmsgpack does.

-- An acquire, from its queueing to its end: under acquires:<sid>, by its request id.
local STATE, SEQ, SINCE, TTL, CALLER, OWNER, CONTEXT, NAMES = 1, 2, 3, 4, 5, 6, 7, 8
local WAITING, GRANTED = 1, 2
local RELEASED, EXPIRED, FORCED, CLOSED = 1, 2, 3, 4 -- EndReason of lock.proto
local ACQUIRE = '<BdddBc0I4c0I4c0I4c0' -- lists are joined: no name has a NUL, no lock id a space
-- Redis walks through a hash of small values to find one; with 65 bytes and more it looks them up, however many there are.
local ACQUIRE_PADDED = ACQUIRE .. 'xxxxxxxxxxxxxxxxxxxxxxxx'

-- A name: field s of lock:<name>. The fields 0 to 9 are its last holders.
local HOLDER, UNLOCKS, QUEUED, WATCHERS = 1, 2, 3, 4 -- holder '' if free; unlocks false if the name is new
local LOCK = '<ddBc0I4c0'

-- A past holder: {who, owner, owner of its session, token, since, until, how it ended}
local PAST = '<BdddBc0I4c0I4c0'

local function acquireCount(sid)
  local count = acquireCounts[sid]
  if not count then
    count = call('HLEN', P .. 'acquires:' .. sid)
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
  local packed = call('HGET', P .. 'acquires:' .. sid, rid)
  if not packed then return false end
  local state, seqNo, since, ttl, caller, owner, context, names = struct.unpack(ACQUIRE, packed)
  return {state, seqNo, since, ttl, caller, owner, splitList(context, ' ', '[^ ]+'), splitList(names, '\0', '[^%z]+')}
end

local function writeAcquire(id, acquire)
  local sid, rid = split(id)
  local caller, owner, context, names = acquire[CALLER], acquire[OWNER], acquire[CONTEXT], acquire[NAMES]
  context = context and table.concat(context, ' ') or ''
  names = #names == 1 and names[1] or table.concat(names, '\0')
  local packed = struct.pack(ACQUIRE_PADDED, acquire[STATE], acquire[SEQ], acquire[SINCE], acquire[TTL],
    #caller, caller, #owner, owner, #context, context, #names, names)
  local added = call('HSET', P .. 'acquires:' .. sid, rid, packed)
  if acquireCounts[sid] then acquireCounts[sid] = acquireCounts[sid] + added end
end

local function removeAcquire(id)
  local sid, rid = split(id)
  call('HDEL', P .. 'acquires:' .. sid, rid)
  if acquireCounts[sid] then acquireCounts[sid] = acquireCounts[sid] - 1 end
  if isLease(sid) then
    call('ZREM', P .. 'deadlines', sid)
    deadlines[sid] = 0
  end
end

local function readLock(name)
  local packed = call('HGET', P .. 'lock:' .. name, 's')
  if not packed then return {'', false, 0, ''} end
  local unlocks, queued, holder, watchers = struct.unpack(LOCK, packed)
  return {holder, unlocks, queued, watchers}
end

local function packLock(lock)
  return struct.pack(LOCK, lock[UNLOCKS], lock[QUEUED], #lock[HOLDER], lock[HOLDER], #lock[WATCHERS], lock[WATCHERS])
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

local function packPast(past)
  local sid, owner, sessionOwner, token, since, untilTime, how = unpack(past)
  return struct.pack(PAST, how, token, since, untilTime, #sid, sid, #owner, owner, #sessionOwner, sessionOwner)
end

local function unpackPast(packed)
  local how, token, since, untilTime, sid, owner, sessionOwner = struct.unpack(PAST, packed)
  return {sid, owner, sessionOwner, token, since, untilTime, how}
end
