-- What: the beginning and the end of a grant.

local function leaveQueues(id, acquire)
  for _, name in ipairs(acquire[NAMES]) do
    call('ZREM', P .. 'queue:' .. name, id)
    if acquire[CONTEXT] then call('ZREM', P .. 'nested:' .. name, id) end
  end
  for _, lock in ipairs(acquire[CONTEXT] or {}) do call('SREM', P .. 'context:' .. lock, id) end
  if acquire[CONTEXT] then
    call('ZREM', P .. 'reserved', id)
    nested = nested - 1
  end
  count(0, -1)
end

-- Grants all names of the acquire, which may have waited. `locks` are its names' hashes, all free.
local function give(id, acquire, locks)
  local waited = acquire[STATE] == WAITING
  if waited then leaveQueues(id, acquire) end
  for i = 1, #locks do
    if waited then locks[i][QUEUED] = locks[i][QUEUED] - 1 end
  end
  local sid = split(id)
  if acquire[TTL] > 0 then setDeadline(sid, NOW + acquire[TTL]) end
  acquire[STATE], acquire[SEQ], acquire[SINCE], acquire[CONTEXT] = GRANTED, nextSeq(), NOW, false
  hold(id, acquire, locks)
  if waited then
    stats[HANDOFFS] = stats[HANDOFFS] + 1
    tell(acquire[CALLER], {'granted', id, acquire[SEQ], NOW, deadlineOf(sid)})
  end
end

-- How a grant ended is remembered for late releases. Not that one was released under a session: while the session lives,
-- a lock that nothing is known of was released.
local function rememberEnd(id, acquire, how)
  local sid, rid = split(id)
  call('HSET', P .. 'ended:' .. sid, rid, cmsgpack.pack({how, acquire[NAMES]}))
  call('PEXPIRE', P .. 'ended:' .. sid, how == RELEASED and LEASE_ENDED_TTL_MS or ENDED_TTL_MS)
end

local function pastOf(id, acquire, how)
  local sid = split(id)
  return {sid, acquire[OWNER], ownerOf(sid), acquire[SEQ], acquire[SINCE], NOW, how}
end

local function finish(id, acquire, how)
  local past = pastOf(id, acquire, how)
  local packed = packPast(past)
  for i = 1, #acquire[NAMES] do
    local name = acquire[NAMES][i]
    local lock = readLock(name)
    lock[HOLDER], lock[UNLOCKS] = '', (lock[UNLOCKS] or 0) + 1
    call('HSET', P .. 'lock:' .. name, 's', packLock(lock), HISTORY_FIELDS[lock[UNLOCKS] % HISTORY], packed)
    if lock[QUEUED] > 0 then dirty[#dirty + 1] = name end
    noteFree(name)
    if lock[WATCHERS] ~= '' then unlocked[#unlocked + 1] = {name, lock[UNLOCKS], lock[WATCHERS], past} end
  end
  removeAcquire(id)
  if how ~= RELEASED or acquire[TTL] > 0 then rememberEnd(id, acquire, how) end
  count(-#acquire[NAMES], 0)
  if how == EXPIRED then stats[EXPIRED_COUNT] = stats[EXPIRED_COUNT] + 1 end
  return past
end

-- Takes a waiter out of its queues for good.
local function drop(id, acquire)
  leaveQueues(id, acquire)
  for _, name in ipairs(acquire[NAMES]) do
    local lock = readLock(name)
    lock[QUEUED] = lock[QUEUED] - 1
    writeLock(name, lock)
    dirty[#dirty + 1] = name
  end
  removeAcquire(id)
end
