-- What: the commands that show locks, watch them, and clean up. Each takes {verb, ...} and returns {outcome, ...}.

local function setWatcher(name, untilTime)
  local lock = readLock(name)
  local watchers = {}
  for server, time in pairs(lock[WATCHERS] ~= '' and cmsgpack.unpack(lock[WATCHERS]) or {}) do
    if time > NOW and server ~= SERVER then watchers[server] = time end
  end
  if untilTime then watchers[SERVER] = untilTime end
  lock[WATCHERS] = next(watchers) and cmsgpack.pack(watchers) or ''
  writeLock(name, lock)
end

-- {watch, names, ms} -> {watched, {{view, history}...}}: this server is told of the names' unlocks for so many ms
commands.watch = function(command)
  local views = {}
  for i, name in ipairs(command[2]) do
    setWatcher(name, NOW + command[3])
    local view = viewLock(name)
    views[i] = {view, historyOf(name, view[4])}
  end
  return {'watched', views}
end

-- {unwatch, names} -> {unwatched}
commands.unwatch = function(command)
  for _, name in ipairs(command[2]) do setWatcher(name, nil) end
  return {'unwatched'}
end

-- {inspect, name} -> {lock, view, waiters, history}
commands.inspect = function(command)
  local view = viewLock(command[2])
  return {'lock', view, waitersOf(command[2]), historyOf(command[2], view[4])}
end

-- {list, prefix, after, limit, active 0|1} -> {locks, views, last name looked at or ''}
commands.list = function(command)
  local _, prefix, after, limit, active = unpack(command)
  local from = prefix == '' and '-' or '[' .. prefix
  if after ~= '' and string.sub(after, 1, #prefix) == prefix then from = '(' .. after end -- else: from another list
  local to = prefix == '' and '+' or '(' .. prefix .. '\255' -- no UTF-8 has this byte
  local names = call('ZRANGEBYLEX', P .. 'names', from, to, 'LIMIT', 0, limit)
  local views = {}
  for _, name in ipairs(names) do
    local view = viewLock(name)
    if active == 0 or view[2] or view[3] > 0 then views[#views + 1] = view end
  end
  return {'locks', views, #names == limit and names[#names] or ''}
end

-- {drain} -> {drained, events, next deadline or 0, messages left}: what other servers' calls left for this one, if pub/sub
-- should have lost it, and when the next session runs out or the next run has waited long enough
commands.drain = function()
  local key = P .. 'outbox:' .. SERVER
  local found = {}
  for _, message in ipairs(call('LRANGE', key, 0, 999)) do
    for _, event in ipairs(cmsgpack.unpack(message)[2]) do found[#found + 1] = event end
  end
  if #found > 0 then call('LTRIM', key, 1000, -1) end
  local first = tonumber(call('ZRANGE', P .. 'deadlines', 0, 0, 'WITHSCORES')[2]) or 0
  local wait = runs.giveUpWaiting()
  if wait > 0 and (first == 0 or wait < first) then first = wait end
  return {'drained', found, first, call('LLEN', key)}
end

-- {sweep} -> {swept, names or runs looked at, sessions, names held, waiting, runs running, pending}: forgets names and runs that
-- outlived their retention, and who is not present any more
commands.sweep = function()
  local names = call('ZRANGEBYSCORE', P .. 'retention', '-inf', NOW, 'LIMIT', 0, 100)
  for _, name in ipairs(names) do sweepName(name) end
  expirePresence()
  local looked = math.max(#names, runs.sweep(100))
  local counts = call('HMGET', P .. 'run-counts', 'running', 'pending')
  return {'swept', looked, call('ZCARD', P .. 'sessions'), held, waiting, tonumber(counts[1]) or 0, tonumber(counts[2]) or 0}
end
