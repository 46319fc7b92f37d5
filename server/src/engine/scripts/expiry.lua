-- What: ends sessions that have run out or were closed, and forgets names that nobody has used for long. A session
--   with very much to give back is ended in slices: until its turn comes, what it held stays held.

-- Ends one acquire of an ended session; returns how many names it covered.
local function endAcquire(id, how)
  local acquire = readAcquire(id)
  if not acquire then return 0 end -- dropped meanwhile, when its turn came
  if acquire[STATE] == GRANTED then
    finish(id, acquire, how)
  else
    drop(id, acquire)
    tell(acquire[CALLER], {'dropped', id, how})
  end
  settle()
  return #acquire[NAMES]
end

-- Ends what the session has, up to the budget; returns what is left of the budget.
local function endSession(sid, how, budget)
  local key = acquiresKey(sid)
  local cursor = '0'
  repeat
    local page = call('HSCAN', key, cursor, 'COUNT', 100)
    cursor = page[1]
    for i = 1, #page[2], 2 do
      if budget <= 0 then
        unfinished = 1
        return 0
      end
      budget = budget - endAcquire(join(sid, page[2][i]), how)
    end
  until cursor == '0' and call('EXISTS', key) == 0
  if not isLease(sid) then
    budget = runs.endSession(sid, how, budget)
    if not budget then return 0 end
  end
  call('ZREM', P .. 'deadlines', sid)
  deadlines[sid] = 0
  if not isLease(sid) then
    instances.drop(sid)
    call('DEL', P .. 'session:' .. sid)
    call('ZREM', P .. 'sessions', sid)
    leaveAll(sid)
  end
  return budget - 1
end

-- Ends the sessions that have run out. When the next one does is remembered, so that most calls need not look.
local function expireDue()
  local budget = LIMITS[5]
  while NOW >= due do
    local first = call('ZRANGE', P .. 'deadlines', 0, 0, 'WITHSCORES')
    local sid, deadline = first[1], tonumber(first[2]) or math.huge
    if deadline > NOW then
      due, counted = deadline, true
      return
    end
    if budget <= 0 then
      unfinished = 1
      return
    end
    local how = tonumber(call('HGET', P .. 'session:' .. sid, 'e')) or EXPIRED
    budget = endSession(sid, how, budget)
  end
end

local function anyWatcher(packed)
  for _, untilTime in pairs(packed ~= '' and cmsgpack.unpack(packed) or {}) do
    if untilTime > NOW then return true end
  end
  return false
end

-- Looks at one name that may have outlived its retention.
local function sweepName(name)
  local lock = readLock(name)
  local last = call('HGET', P .. 'lock:' .. name, (lock[UNLOCKS] or 0) % HISTORY)
  local unusedSince = last and unpackPast(last)[6] or NOW - LIMITS[4]
  if lock[HOLDER] ~= '' or lock[QUEUED] > 0 or anyWatcher(lock[WATCHERS]) then
    call('ZADD', P .. 'retention', NOW + LIMITS[4], name)
  elseif unusedSince + LIMITS[4] > NOW then
    call('ZADD', P .. 'retention', unusedSince + LIMITS[4], name)
  else
    call('DEL', P .. 'lock:' .. name)
    call('ZREM', P .. 'names', name)
    call('ZREM', P .. 'retention', name)
  end
end
