-- What: serves those who wait, after something changed. The work does not depend on how many they are: the head of a
--   queue is looked at, and the nested waiters of the name, which have a small set of their own.

-- {who, owner, owner of its session, token, since, until}
local function holderOf(id)
  local acquire = readAcquire(id)
  if not acquire then return false end
  local sid = split(id)
  return {sid, acquire[OWNER], ownerOf(sid), acquire[SEQ], acquire[SINCE], deadlineOf(sid)}
end

local function isHeadOfAll(id, names)
  for _, name in ipairs(names) do
    if headOf(name) ~= id then return false end
  end
  return true
end

-- Grants a nested waiter all of whose names are free, if it may pass; else keeps it at hand for the next change.
local function serveNested(id, acquire, locks)
  if passes(id, acquire[NAMES], setOf(acquire[CONTEXT])) then
    give(id, acquire, locks)
    return true
  end
  call('ZADD', P .. 'reserved', acquire[SEQ], id)
  return false
end

local function serveHead(id, acquire)
  local locks = readLocks(acquire[NAMES])
  if not allFree(locks) then return false end
  if #locks == 1 or isHeadOfAll(id, acquire[NAMES]) then
    give(id, acquire, locks)
    return true
  end
  return false
end

-- Serves whoever can have the name now, if it is free.
local function promote(name)
  if readLock(name)[HOLDER] ~= '' then return end
  local head = headOf(name)
  while head do
    local acquire = readAcquire(head)
    if alive((split(head))) then
      if serveHead(head, acquire) then return end
      break
    end
    drop(head, acquire) -- its session has run out, though its turn to be ended has not come
    tell(acquire[CALLER], {'dropped', head, EXPIRED})
    head = headOf(name)
  end
  for _, id in ipairs(call('ZRANGE', P .. 'nested:' .. name, 0, -1)) do
    local acquire = readAcquire(id)
    local locks = readLocks(acquire[NAMES])
    if alive((split(id))) and allFree(locks) and serveNested(id, acquire, locks) then return end
  end
end

-- A grant, a queueing or a leaving may have made somebody wait for a nested waiter's context: it may pass now.
local function serveReserved()
  local again = nested > 0 and not inGrace
  while again do
    again = false
    for _, id in ipairs(call('ZRANGE', P .. 'reserved', 0, -1)) do
      local acquire = readAcquire(id)
      local locks = acquire and acquire[STATE] == WAITING and readLocks(acquire[NAMES])
      if not locks or not allFree(locks) then
        call('ZREM', P .. 'reserved', id) -- comes back when the last of its names is freed
      elseif alive((split(id))) and serveNested(id, acquire, locks) then
        again = true
      end
    end
  end
end

local function tellWatchers()
  for _, entry in ipairs(unlocked) do
    local name, count, watchers, past = entry[1], entry[2], cmsgpack.unpack(entry[3]), entry[4]
    local holder = readLock(name)[HOLDER]
    local successor = holder ~= '' and holderOf(holder)
    for server, untilTime in pairs(watchers) do
      if untilTime > NOW then tell(server, {'unlocked', name, count, past, successor}) end
    end
  end
  unlocked = {}
end

-- Nobody is served before the grace period is over: remembers the names that somebody waits for.
local function postpone()
  for _, name in ipairs(dirty) do call('SADD', P .. 'graced', name) end
  dirty = {}
end

-- Serves everybody that the last command made servable.
local function settle()
  if inGrace and #dirty > 0 then
    postpone()
  elseif #dirty > 0 then
    local i = 1
    while i <= #dirty do -- grows while it is walked
      promote(dirty[i])
      i = i + 1
    end
    dirty = {}
    serveReserved()
  end
  if #unlocked > 0 then tellWatchers() end
end
