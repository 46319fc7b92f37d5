-- What: the slots of managed processes: locks of the engine under names that nobody else may ask for, `~process/<process>/<slot>`.
--   Whatever begins or ends the hold of such a name keeps the list of the process's slots, in the same step. So a slot
--   has the rules of a lock, and no others: expiry, tokens, epochs and their grace period.
-- Keys, after the prefix P:
--   processes          zset, lexical: the declared processes
--   process:<name>     hash: w workers, r running 0|1, n revision, u when updated, i id of the last update, v version: counts
--                      whatever matters to the assignment of slots
--   nodes:<name>       hash: session -> {node, capacity, since}
--   slots:<name>       hash: slot -> {lock id, drain 0|1, state, restarts, error, error time}, the last four as the node reports
--   observers:<name>   hash: server -> until when it is told of changes (ms); has a TTL
--   joined:<sid>       set: the processes that the session has joined as a node
-- Events: {'process', name}: something about it has changed.

local LOCK_ID, DRAIN, SLOT_STATE, RESTARTS, SLOT_ERROR, ERROR_TIME = 1, 2, 3, 4, 5, 6
local SLOT_GRANTED = 2 -- SlotState of process.proto

local RESERVED = 126 -- '~', as of leases

local function isReserved(name)
  return string.byte(name) == RESERVED
end

local function slotName(process, slot)
  return '~process/' .. process .. '/' .. slot
end

-- The process and the slot that a name stands for, or nil.
local function slotOf(name)
  if not isReserved(name) then return end
  return string.match(name, '^~process/(.+)/(%d+)$')
end

-- Its servers are told, once for the whole call. In a new epoch slots may be known before the process is.
local function noteProcess(process, matters)
  local key = P .. 'process:' .. process
  if matters and call('HEXISTS', key, 'w') == 1 then call('HINCRBY', key, 'v', 1) end
  changedProcesses[process] = true
end

-- A name is held from now on.
local function noteHeld(name, id)
  local process, slot = slotOf(name)
  if not process then return end
  call('HSET', P .. 'slots:' .. process, slot, cmsgpack.pack({id, 0, SLOT_GRANTED, 0, '', 0}))
  noteProcess(process, true)
end

-- A name is free.
local function noteFree(name)
  local process, slot = slotOf(name)
  if not process then return end
  call('HDEL', P .. 'slots:' .. process, slot)
  noteProcess(process, true)
end

-- A session that has ended is no node any more.
local function leaveAll(sid)
  local key = P .. 'joined:' .. sid
  for _, process in ipairs(call('SMEMBERS', key)) do
    call('HDEL', P .. 'nodes:' .. process, sid)
    noteProcess(process, true)
  end
  call('DEL', key)
end

local function tellProcesses()
  for process in pairs(changedProcesses) do
    local key = P .. 'observers:' .. process
    local observers = call('HGETALL', key)
    for i = 1, #observers, 2 do
      if tonumber(observers[i + 1]) > NOW then
        tell(observers[i], {'process', process})
      else
        call('HDEL', key, observers[i])
      end
    end
  end
end
