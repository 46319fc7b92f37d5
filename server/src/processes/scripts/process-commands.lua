-- What: the commands on managed processes. Each takes its command {verb, ...} and returns its result {outcome, ...}. Servers plan
--   which node has which slot, in the light of a version of the process; what they may do at all is checked here.

do -- its helpers are nobody else's

-- {workers, running, revision, updated, id of the last update, version}, or nil
local function readConfig(process)
  local fields = call('HMGET', P .. 'process:' .. process, 'w', 'r', 'n', 'u', 'i', 'v')
  if not fields[1] then return end
  return {tonumber(fields[1]), tonumber(fields[2]), tonumber(fields[3]), tonumber(fields[4]), fields[5], tonumber(fields[6]) or 0}
end

local function writeConfig(process, workers, running, revision, updateId)
  call('ZADD', P .. 'processes', 0, process)
  call('HSET', P .. 'process:' .. process, 'w', workers, 'r', running, 'n', revision, 'u', NOW, 'i', updateId)
  noteProcess(process, true)
end

-- Somebody remembers a config {workers, running, revision}, or declares one, with the revision 0. The newest is kept.
local function offerConfig(process, offer)
  local config = offer and readConfig(process)
  if not offer or (config and offer[3] <= config[3]) then return end
  writeConfig(process, offer[1], offer[2], math.max(1, offer[3]), '')
end

local function readNode(process, sid)
  local packed = call('HGET', P .. 'nodes:' .. process, sid)
  return packed and cmsgpack.unpack(packed)
end

-- How many slots there are in all, and in the hands of each session.
local function countSlots(process)
  local total, bySession = 0, {}
  for _, packed in ipairs(call('HVALS', P .. 'slots:' .. process)) do
    local sid = split(cmsgpack.unpack(packed)[LOCK_ID])
    total, bySession[sid] = total + 1, (bySession[sid] or 0) + 1
  end
  return total, bySession
end

-- {join, process, sid, the client's connection or 0, node, capacity, declared config, known config or false, {processes, nodes}: at
-- most so many} -> {joined} | {moved}: the client has a later connection | {gone} | {unconfirmed} | {too_many_processes} | {too_many_nodes}
commands.join = function(command)
  local _, process, sid, generation, node, capacity, declared, known, limits = unpack(command, 1, 9)
  local byLatest = isLatest(sid, generation)
  if not byLatest then return {'moved'} end
  if not alive(sid) then return {inGrace and 'unconfirmed' or 'gone'} end
  if not readConfig(process) and call('ZCARD', P .. 'processes') >= limits[1] then return {'too_many_processes'} end
  local before = readNode(process, sid)
  if not before and call('HLEN', P .. 'nodes:' .. process) >= limits[2] then return {'too_many_nodes'} end
  offerConfig(process, known)
  offerConfig(process, declared)
  if not before or before[1] ~= node or before[2] ~= capacity then
    call('HSET', P .. 'nodes:' .. process, sid, cmsgpack.pack({node, capacity, before and before[3] or NOW}))
    call('SADD', P .. 'joined:' .. sid, process)
    noteProcess(process, true)
  end
  return {'joined'}
end

-- {leave, process, sid} -> {left}
commands.leave = function(command)
  local _, process, sid = unpack(command)
  call('SREM', P .. 'joined:' .. sid, process)
  if call('HDEL', P .. 'nodes:' .. process, sid) == 1 then noteProcess(process, true) end
  return {'left'}
end

-- Grants a slot to a node, if nothing speaks against it.
local function startSlot(process, config, start)
  local slot, sid, rid, owner = unpack(start)
  local node = readNode(process, sid)
  local total, bySession = countSlots(process)
  if inGrace or config[2] == 0 or slot >= config[1] or total >= config[1] then return end
  if not node or not alive(sid) or (bySession[sid] or 0) >= node[2] or acquireCount(sid) >= LIMITS[2] then return end
  local name = slotName(process, slot)
  local locks = readLocks({name})
  if allFree(locks) then give(join(sid, rid), {GRANTED, 0, NOW, 0, SERVER, owner, false, {name}}, locks) end
end

-- {place, process, version, {{slot, sid, rid, owner}...} to start, slots to drain} -> {placed} | {stale}: it has changed since
commands.place = function(command)
  local _, process, version, starts, drains = unpack(command)
  local config = readConfig(process)
  if not config or config[6] ~= version then return {'stale'} end
  local key = P .. 'slots:' .. process
  for _, slot in ipairs(drains) do
    local packed = call('HGET', key, slot)
    local record = packed and cmsgpack.unpack(packed)
    if record and record[DRAIN] == 0 then
      record[DRAIN] = 1
      call('HSET', key, slot, cmsgpack.pack(record))
      noteProcess(process, true)
    end
  end
  for _, start in ipairs(starts) do startSlot(process, config, start) end
  return {'placed'}
end

-- {report, process, {{slot, lock id, state, restarts, error}...}} -> {reported}. What is said of a grant that has ended is ignored.
commands.report = function(command)
  local _, process, reports = unpack(command)
  local key = P .. 'slots:' .. process
  for _, report in ipairs(reports) do
    local slot, id, state, restarts, problem = unpack(report)
    local packed = call('HGET', key, slot)
    local record = packed and cmsgpack.unpack(packed)
    if record and record[LOCK_ID] == id then
      local failedAgain = problem ~= '' and (restarts ~= record[RESTARTS] or problem ~= record[SLOT_ERROR])
      local at = failedAgain and NOW or record[ERROR_TIME]
      call('HSET', key, slot, cmsgpack.pack({id, record[DRAIN], state, restarts, problem, at}))
      noteProcess(process, false)
    end
  end
  return {'reported'}
end

-- {configure, process, workers or -1, running or -1, only if this is the revision or 0, update id, known config or false} ->
-- {configured, config} | {none} | {mismatch, revision}. An update that comes again is known by its id.
commands.configure = function(command)
  local _, process, workers, running, revision, updateId, known = unpack(command, 1, 7)
  offerConfig(process, known)
  local config = readConfig(process)
  if not config then return {'none'} end
  if config[5] == updateId then return {'configured', config} end
  if revision > 0 and revision ~= config[3] then return {'mismatch', config[3]} end
  if workers < 0 then workers = config[1] end
  if running < 0 then running = config[2] end
  if workers ~= config[1] or running ~= config[2] then writeConfig(process, workers, running, config[3] + 1, updateId) end
  return {'configured', readConfig(process)}
end

-- {remember, {{process, workers, running, revision}...}} -> {remembered}: what a server knows of processes that Redis may have lost
commands.remember = function(command)
  for _, known in ipairs(command[2]) do offerConfig(known[1], {known[2], known[3], known[4]}) end
  return {'remembered'}
end

-- {forget, process} -> {forgotten} | {none} | {in_use, nodes, slots}
commands.forget = function(command)
  local process = command[2]
  if not readConfig(process) then return {'none'} end
  local nodes, slots = call('HLEN', P .. 'nodes:' .. process), call('HLEN', P .. 'slots:' .. process)
  if nodes + slots > 0 then return {'in_use', nodes, slots} end
  call('DEL', P .. 'process:' .. process)
  call('ZREM', P .. 'processes', process)
  noteProcess(process, false)
  return {'forgotten'}
end

local function nodesOf(process)
  local nodes = {}
  local fields = call('HGETALL', P .. 'nodes:' .. process)
  for i = 1, #fields, 2 do
    local sid = fields[i]
    local node, capacity, since = unpack(cmsgpack.unpack(fields[i + 1]))
    local ttl = alive(sid) and tonumber(call('HGET', P .. 'session:' .. sid, 't'))
    if ttl then nodes[#nodes + 1] = {sid, node, capacity, since, deadlineOf(sid) - ttl, ownerOf(sid)} end
  end
  return nodes
end

local function slotsOf(process)
  local slots = {}
  local fields = call('HGETALL', P .. 'slots:' .. process)
  for i = 1, #fields, 2 do
    local record = cmsgpack.unpack(fields[i + 1])
    local acquire = readAcquire(record[LOCK_ID])
    local sid = split(record[LOCK_ID])
    slots[#slots + 1] = {tonumber(fields[i]), sid, record[LOCK_ID], acquire[SEQ], acquire[SINCE], deadlineOf(sid), record[DRAIN],
      record[SLOT_STATE], record[RESTARTS], record[SLOT_ERROR], record[ERROR_TIME]}
  end
  return slots
end

-- {process, name, ms} -> {process, config or false, nodes, slots, now, grace until}: and this server is told of changes for so many ms.
-- A node is {sid, node, capacity, since, heartbeat, owner of its session}, a slot {slot, sid, lock id, token, since, until, drain,
-- state, restarts, error, error time}.
commands.process = function(command)
  local _, process, ms = unpack(command)
  if ms > 0 then
    local key = P .. 'observers:' .. process
    call('HSET', key, SERVER, NOW + ms)
    call('PEXPIRE', key, ms)
  end
  return {'process', readConfig(process) or false, nodesOf(process), slotsOf(process), NOW, grace}
end

-- {unobserve, process} -> {unobserved}
commands.unobserve = function(command)
  call('HDEL', P .. 'observers:' .. command[2], SERVER)
  return {'unobserved'}
end

-- {processes, after, limit} -> {processes, {{name, config, nodes, slots, running, wanted slots that somebody has}...}, last name looked at or ''}
commands.processes = function(command)
  local from = command[2] == '' and '-' or '(' .. command[2]
  local names = call('ZRANGEBYLEX', P .. 'processes', from, '+', 'LIMIT', 0, command[3])
  local views = {}
  for i, name in ipairs(names) do
    local config, total, running, wanted = readConfig(name), 0, 0, 0
    local slots = call('HGETALL', P .. 'slots:' .. name)
    for j = 1, #slots, 2 do
      local record = cmsgpack.unpack(slots[j + 1])
      total = total + 1
      if record[DRAIN] == 0 and record[SLOT_STATE] == 3 then running = running + 1 end
      if tonumber(slots[j]) < config[1] * config[2] then wanted = wanted + 1 end
    end
    views[i] = {name, config, call('HLEN', P .. 'nodes:' .. name), total, running, wanted}
  end
  return {'processes', views, #names == command[3] and names[#names] or ''}
end

end
