-- What: what is shown of a name to those who ask.

-- {name, holder or false, waiters, unlocks so far}
local function viewLock(name)
  local lock = readLock(name)
  return {name, lock[HOLDER] ~= '' and holderOf(lock[HOLDER]), lock[QUEUED], lock[UNLOCKS] or 0}
end

-- The names that are in the way: held, or reserved for somebody who came first.
local function blockersOf(names)
  local blockers = {}
  for _, name in ipairs(names) do
    local view = viewLock(name)
    if view[2] or view[3] > 0 then blockers[#blockers + 1] = view end
  end
  return blockers
end

-- The last holders, latest first.
local function historyOf(name, count)
  local history = {}
  for n = count, math.max(1, count - HISTORY + 1), -1 do
    local packed = call('HGET', P .. 'lock:' .. name, n % HISTORY)
    if packed then history[#history + 1] = unpackPast(packed) end
  end
  return history
end

-- The first waiters: {who, owner, owner of its session, since}.
local function waitersOf(name)
  local waiters = {}
  for _, id in ipairs(call('ZRANGE', P .. 'queue:' .. name, 0, 9)) do
    local acquire = readAcquire(id)
    local sid = split(id)
    waiters[#waiters + 1] = {sid, acquire[OWNER], ownerOf(sid), acquire[SINCE]}
  end
  return waiters
end
