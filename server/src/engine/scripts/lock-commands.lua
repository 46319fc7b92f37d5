-- What: the commands on locks. Each takes its command {verb, ...} and returns its result {outcome, ...}.

local function granted(id, acquire)
  local sid = split(id)
  return {'granted', acquire[SEQ], acquire[SINCE], deadlineOf(sid), acquire[TTL]}
end

local function sameNames(a, b)
  if #a ~= #b then return false end
  for i, name in ipairs(a) do
    if name ~= b[i] then return false end
  end
  return true
end

-- A wait is over without success. Another server that still waits for it has to know.
local function giveUp(id, acquire)
  drop(id, acquire)
  if acquire[CALLER] ~= SERVER then tell(acquire[CALLER], {'dropped', id, RELEASED}) end
  return {'contended', blockersOf(acquire[NAMES])}
end

-- The same request again, perhaps through another server: its grant, or its place in the queue.
local function repeated(id, acquire, names, wait)
  if not sameNames(acquire[NAMES], names) then return {'reused', acquire[NAMES]} end
  if acquire[STATE] == WAITING and wait == 0 then return giveUp(id, acquire) end
  if acquire[CALLER] ~= SERVER then
    acquire[CALLER] = SERVER
    writeAcquire(id, acquire)
  end
  if acquire[STATE] == GRANTED then return granted(id, acquire) end
  return {'queued', acquire[SEQ], acquire[SINCE]}
end

-- The first of the context's locks that is not held by this session, or nil.
local function notHeld(sid, context)
  if not context then return end
  for _, lock in ipairs(context) do
    local acquire = (split(lock)) == sid and readAcquire(lock)
    if not acquire or acquire[STATE] ~= GRANTED then return lock end
  end
end

local function available(id, names, locks, context)
  if inGrace or not allFree(locks) then return false end
  local queued = false
  for i = 1, #locks do queued = queued or locks[i][QUEUED] > 0 end
  return not queued or (context and passes(id, names, setOf(context)))
end

local function refuseQueueing(names, locks, context)
  for i, lock in ipairs(locks) do
    if lock[QUEUED] >= LIMITS[1] then return {'too_many_waiters', names[i]} end
  end
  local cycle = context and holdCycle(names, setOf(context), {})
  if not cycle then return end
  for _, link in ipairs(cycle) do link[2] = holderOf(link[2]) end
  return {'deadlock', cycle}
end

local function enqueue(id, acquire, locks)
  local ticket = acquire[SEQ]
  for i, name in ipairs(acquire[NAMES]) do
    call('ZADD', P .. 'queue:' .. name, ticket, id)
    locks[i][QUEUED] = locks[i][QUEUED] + 1
    writeLock(name, locks[i])
    if acquire[CONTEXT] then call('ZADD', P .. 'nested:' .. name, ticket, id) end
  end
  for _, lock in ipairs(acquire[CONTEXT] or {}) do call('SADD', P .. 'context:' .. lock, id) end
  for _, name in ipairs(inGrace and acquire[NAMES] or {}) do dirty[#dirty + 1] = name end
  if acquire[TTL] > 0 then setDeadline((split(id)), NOW + acquire[TTL]) end
  writeAcquire(id, acquire)
  if acquire[CONTEXT] then nested = nested + 1 end
  count(0, 1)
end

-- {acquire, sid, rid, names, wait 0|1, owner, context or false, ttl (leases), the ticket that it had in another epoch or 0,
-- the client's connection or 0} -> {moved}: the client has a later connection | {granted, token, since, deadline, ttl} | {queued, ticket, since} | {contended, blockers} | {gone} | {unconfirmed}
-- | {grace, ms left} | {reused, names} | {not_held, lock} | {too_many_locks} | {too_many_waiters, name} | {deadlock, {{name,
-- holder}...}}
commands.acquire = function(command)
  local _, sid, rid, names, wait, owner, context, ttl, ticket, generation = unpack(command, 1, 10)
  if not isLatest(sid, generation) then return {'moved'} end
  local id = join(sid, rid)
  if ttl == 0 and not alive(sid) then return {inGrace and 'unconfirmed' or 'gone'} end
  local known = readAcquire(id)
  if known and not alive(sid) then
    endAcquire(id, EXPIRED) -- a lease that has run out, though its turn to be ended has not come
    known = nil
  end
  if known then return repeated(id, known, names, wait) end
  local lost = notHeld(sid, context)
  if lost then return {'not_held', lost} end
  if acquireCount(sid) >= LIMITS[2] then return {'too_many_locks'} end
  local acquire = {GRANTED, 0, NOW, ttl, SERVER, owner, context, names}
  local locks = readLocks(names)
  if available(id, names, locks, context) then
    give(id, acquire, locks)
    return granted(id, acquire)
  end
  if wait == 0 and inGrace and allFree(locks) then return {'grace', grace - NOW} end
  if wait == 0 then return {'contended', blockersOf(names)} end
  local refusal = refuseQueueing(names, locks, context)
  if refusal then return refusal end
  acquire[STATE], acquire[SEQ] = WAITING, ticket and ticket > 0 and ticket or nextSeq()
  atLeast(acquire[SEQ])
  enqueue(id, acquire, locks)
  if context then
    if allFree(locks) then call('ZADD', P .. 'reserved', acquire[SEQ], id) end
    serveReserved() -- those who wait for this context now wait for whatever it waits for
  end
  return {'queued', acquire[SEQ], NOW}
end

-- {timeout, lock} -> {contended, blockers} | {granted, ...}: it was granted just before | {none}, or not this server's any more
commands.timeout = function(command)
  local id = command[2]
  local acquire = readAcquire(id)
  if not acquire and inGrace then return {'contended', {}} end
  if not acquire then return {'none'} end
  if acquire[STATE] == GRANTED then return granted(id, acquire) end
  if acquire[CALLER] ~= SERVER then return {'none'} end
  return giveUp(id, acquire)
end

-- {cancel, lock, server or '', the client's connection or 0} -> {left} | {released} | {none} | {moved}. With a server: only if it still
-- answers that one.
commands.cancel = function(command)
  local _, id, server, generation = unpack(command, 1, 4)
  isLatest((split(id)), generation) -- noted, so that what is cancelled does not come later by an earlier connection
  local acquire = readAcquire(id)
  if not acquire then return {'none'} end
  if server ~= '' and acquire[CALLER] ~= server then return {'moved'} end
  if acquire[STATE] == GRANTED then
    finish(id, acquire, RELEASED)
    return {'released'}
  end
  drop(id, acquire)
  if server == '' then tell(acquire[CALLER], {'dropped', id, RELEASED}) end
  return {'left'}
end

-- Takes a revoked lock off the session's list: its client knows.
local function forgetRevoked(sid, id)
  local packed = call('HGET', P .. 'session:' .. sid, 'f')
  if not packed then return end
  local rest = {}
  for _, lock in ipairs(cmsgpack.unpack(packed)) do
    if lock ~= id then rest[#rest + 1] = lock end
  end
  if #rest > 0 then
    call('HSET', P .. 'session:' .. sid, 'f', cmsgpack.pack(rest))
  else
    call('HDEL', P .. 'session:' .. sid, 'f')
  end
end

-- A release or extend that found no grant: it was given back before, or it is not held (any more).
local function missing(id)
  local sid, rid = split(id)
  local packed = call('HGET', P .. 'ended:' .. sid, rid)
  local how, names = EXPIRED, {}
  if packed then
    how, names = unpack(cmsgpack.unpack(packed))
  elseif alive(sid) then
    how = RELEASED -- a living session's grants end by its own hand, or are remembered
  end
  if not isLease(sid) then forgetRevoked(sid, id) end
  return how, blockersOf(names)
end

-- {release, lock} -> {released, ms it was held, first name} | {released} before | {not_held, lock, blockers, how}
commands.release = function(command)
  local id = command[2]
  local acquire = readAcquire(id)
  if acquire and acquire[STATE] == GRANTED and alive((split(id))) then
    finish(id, acquire, RELEASED)
    return {'released', NOW - acquire[SINCE], acquire[NAMES][1]}
  end
  if acquire then return {'not_held', id, blockersOf(acquire[NAMES]), 0} end
  local how, blockers = missing(id)
  -- Who gives back something of the epoch before need not claim it first.
  if how == RELEASED or (inGrace and not alive((split(id)))) then return {'released'} end
  return {'not_held', id, blockers, how}
end

-- {claim, sid, rid, names, token, since, owner, the client's connection or 0} -> {granted, ...} | {conflict} | {gone}: it is too late, or came
-- by an earlier connection: it may have been given back since. A grant of the epoch before, by its holder; who comes first has it.
commands.claim = function(command)
  local _, sid, rid, names, token, since, owner, generation = unpack(command, 1, 8)
  if not alive(sid) or not isLatest(sid, generation) then return {'gone'} end
  local id = join(sid, rid)
  local known = readAcquire(id)
  if known and known[STATE] == GRANTED then return known[SEQ] == token and granted(id, known) or {'conflict'} end
  if not inGrace then return {'gone'} end
  if known then drop(id, known) end -- asked again by somebody who does not know that it was granted
  local locks = readLocks(names)
  if not allFree(locks) then return {'conflict'} end
  atLeast(token)
  local acquire = {GRANTED, token, since, 0, SERVER, owner, false, names}
  hold(id, acquire, locks)
  return granted(id, acquire)
end

-- {extend, lock, ttl or 0} -> {granted, ..., names} | {not_held, lock, blockers, how}
commands.extend = function(command)
  local _, id, ttl = unpack(command)
  local sid = split(id)
  local acquire = readAcquire(id)
  if not acquire or acquire[STATE] ~= GRANTED or not alive(sid) then
    local how, blockers = missing(id)
    return {'not_held', id, blockers, how}
  end
  if ttl > 0 and ttl ~= acquire[TTL] then
    acquire[TTL] = ttl
    writeAcquire(id, acquire)
  end
  setDeadline(sid, NOW + acquire[TTL])
  local result = granted(id, acquire)
  result[6] = acquire[NAMES]
  return result
end

local function tellRevoked(sid, id)
  if isLease(sid) then return end
  local fields = call('HMGET', P .. 'session:' .. sid, 'f', 'v')
  local revoked = fields[1] and cmsgpack.unpack(fields[1]) or {}
  revoked[#revoked + 1] = id
  call('HSET', P .. 'session:' .. sid, 'f', cmsgpack.pack(revoked))
  if fields[2] then tell(fields[2], {'revoked', sid, id}) end
end

-- {force, name, token or 0} -> {forced, past} | {free} | {not_held, '', blockers, 0}: somebody else has it
commands.force = function(command)
  local _, name, token = unpack(command)
  local id = readLock(name)[HOLDER]
  if id == '' then return {'free'} end
  local acquire = readAcquire(id)
  if token ~= 0 and token ~= acquire[SEQ] then return {'not_held', '', blockersOf({name}), 0} end
  local past = finish(id, acquire, FORCED)
  stats[FORCED_COUNT] = stats[FORCED_COUNT] + 1
  tellRevoked((split(id)), id)
  return {'forced', past}
end
