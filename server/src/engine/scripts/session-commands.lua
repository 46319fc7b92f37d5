-- What: the commands on sessions. Each takes its command {verb, ...} and returns its result {outcome, ...}.

local commands = {}

-- {open, sid, ttl, owner} -> {opened, now, deadline} | {too_many_sessions}. Opening twice is opening once.
commands.open = function(command)
  local _, sid, ttl, owner = unpack(command)
  if not alive(sid) then
    if call('ZCARD', P .. 'sessions') >= LIMITS[3] then return {'too_many_sessions'} end
    instances.drop(sid)
    call('DEL', P .. 'session:' .. sid) -- of one that has run out, though its turn to be ended has not come
    call('HSET', P .. 'session:' .. sid, 't', ttl, 'o', owner, 'b', NOW, 'v', SERVER)
    call('ZADD', P .. 'sessions', 0, sid)
  end
  setDeadline(sid, NOW + ttl)
  return {'opened', NOW, NOW + ttl}
end

-- {reopen, sid, ttl, owner, highest token it has seen, the client's connection or 0} -> {opened, now, deadline} | {gone}: it is too late. A session of the epoch before.
commands.reopen = function(command)
  local _, sid, ttl, owner, token, generation = unpack(command, 1, 6)
  atLeast(token)
  if not alive(sid) and not inGrace then return {'gone'} end
  local result = commands.open({'open', sid, ttl, owner})
  isLatest(sid, generation)
  return result
end

-- {keep, sid, ttl} -> {alive, deadline, revoked lock ids} | {gone} | {unconfirmed}: the epoch is new, and the session has to come again. ttl 0: as the session was opened (a lease needs it).
commands.keep = function(command)
  local _, sid, ttl = unpack(command)
  if not alive(sid) then return {inGrace and 'unconfirmed' or 'gone'} end
  if isLease(sid) then
    setDeadline(sid, NOW + ttl)
    return {'alive', NOW + ttl, {}}
  end
  local fields = call('HMGET', P .. 'session:' .. sid, 't', 'f', 'v')
  if fields[3] ~= SERVER then call('HSET', P .. 'session:' .. sid, 'v', SERVER) end
  setDeadline(sid, NOW + fields[1])
  return {'alive', NOW + fields[1], fields[2] and cmsgpack.unpack(fields[2]) or {}}
end

-- {close, sid} -> {closed}. What the session had is given back here and now, the rest of very much in the next calls.
commands.close = function(command)
  local sid = command[2]
  if alive(sid) then
    call('HSET', P .. 'session:' .. sid, 'e', CLOSED)
    setDeadline(sid, 0)
    endSession(sid, CLOSED, LIMITS[5])
  end
  return {'closed'}
end

local function viewSession(sid)
  local fields = call('HMGET', P .. 'session:' .. sid, 't', 'b', 'o')
  return {sid, tonumber(fields[1]), tonumber(fields[2]), deadlineOf(sid), fields[3], acquireCount(sid)}
end

-- {session, sid} -> {session, view} | {gone}; a view is {sid, ttl, opened, deadline, owner, acquires}
commands.session = function(command)
  if not alive(command[2]) then return {'gone'} end
  return {'session', viewSession(command[2])}
end

-- {sessions, after, limit} -> {sessions, views, last id looked at or ''}
commands.sessions = function(command)
  local from = command[2] == '' and '-' or '(' .. command[2]
  local ids = call('ZRANGEBYLEX', P .. 'sessions', from, '+', 'LIMIT', 0, command[3])
  local views = {}
  for _, sid in ipairs(ids) do
    if alive(sid) then views[#views + 1] = viewSession(sid) end
  end
  return {'sessions', views, #ids == command[3] and ids[#ids] or ''}
end
