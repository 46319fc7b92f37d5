-- What: the records of runs. For each type and id at most one run goes on at a time. It hangs on its runner's session, and
--   is lost in the same step in which that ends.
-- Keys, after the prefix P; a ref is <type>/<id>, and no type has a slash:
--   run:<ref>         hash: s the run, i its input until it ends, r its result, w servers that watch it
--   run-names         zset, lexical: every remembered ref
--   run-retention     zset: ref of an ended run -> when to forget it (ms)
--   run-waits         zset: ref of a waiting run -> when it gives up (ms)
--   run-counts        hash: how many are pending, running
--   runs:<sid>        set: refs of what the session runs. More of sessions in runners.lua
-- A run is a map of: status; run, its id, which is its fencing token as well; sid and owner, who runs it; asked, started,
--   stopped, forget: times, 0 if there is none; percent, message; err, stack; cancel 0|1; attempt, retries left; ttl and
--   wait (ms); request, who asked for it; rev, which counts the states of the ref; next, the run that follows a lost one.

local runs = {PENDING = 1, RUNNING = 2, SUCCEEDED = 3, FAILED = 4, CANCELLED = 5, LOST = 6} -- RunStatus of run.proto

local RUNS_FORGOTTEN = 10 -- at the most, by each start; the sweep forgets the rest
local RUN_WAIT_MS = 300000 -- how long a run waits for a runner that has room, unless its caller says otherwise

function runs.typeOf(ref)
  return string.match(ref, '^[^/]+')
end

function runs.forget(ref)
  call('DEL', P .. 'run:' .. ref)
  call('ZREM', P .. 'run-names', ref)
  call('ZREM', P .. 'run-retention', ref)
end

function runs.read(ref)
  local packed = call('HGET', P .. 'run:' .. ref, 's')
  if not packed then return false end
  local run = cmsgpack.unpack(packed)
  if run.forget == 0 or run.forget > NOW then return run end
  runs.forget(ref)
  return false
end

function runs.isOver(run)
  return run.status > runs.RUNNING
end

function runs.count(what, by)
  call('HINCRBY', P .. 'run-counts', what, by)
end

-- {ref, run, result or ''}
function runs.view(ref, run)
  return {ref, run, run.status == runs.SUCCEEDED and call('HGET', P .. 'run:' .. ref, 'r') or ''}
end

-- The run has another state: keeps it, and tells it to those who watch.
function runs.save(ref, run)
  run.rev = run.rev + 1
  call('HSET', P .. 'run:' .. ref, 's', cmsgpack.pack(run))
  local watchers = call('HGET', P .. 'run:' .. ref, 'w')
  for server, untilTime in pairs(watchers and cmsgpack.unpack(watchers) or {}) do
    if untilTime > NOW then tell(server, {'run', runs.view(ref, run)}) end
  end
end

-- Begins a run, running or waiting, in the place of one that is over, if there was one.
function runs.put(ref, run, input)
  call('HDEL', P .. 'run:' .. ref, 'r')
  call('HSET', P .. 'run:' .. ref, 'i', input)
  call('ZADD', P .. 'run-names', 0, ref)
  call('ZREM', P .. 'run-retention', ref)
  runs.save(ref, run)
  if run.status == runs.RUNNING then return runs.attach(run.sid, ref) end
  local deadline = NOW + run.wait
  call('ZADD', P .. 'run-waits', deadline, ref)
  if soonest == 0 or deadline < soonest then soonest = deadline end
  call('ZADD', P .. 'pending:' .. runs.typeOf(ref), run.run, ref)
  runs.count('pending', 1)
  runs.assign(runs.typeOf(ref))
end

function runs.stopWaiting(ref)
  call('ZREM', P .. 'run-waits', ref)
  call('ZREM', P .. 'pending:' .. runs.typeOf(ref), ref)
  runs.count('pending', -1)
end

-- The run is over. Whoever ran it has room for another.
function runs.finish(ref, run, status)
  local wasRunning = run.status == runs.RUNNING
  if wasRunning then runs.detach(run.sid, ref) else runs.stopWaiting(ref) end
  run.status, run.stopped, run.forget = status, NOW, NOW + run.ttl
  call('HDEL', P .. 'run:' .. ref, 'i')
  call('ZADD', P .. 'run-retention', run.forget, ref)
  runs.save(ref, run)
  tell(SERVER, {'run_ended', ref, status, wasRunning and NOW - run.started or 0})
  if wasRunning then runs.assign(runs.typeOf(ref)) end
end

-- The session that runs it has ended. Starts it again, if that was wished for.
function runs.lose(ref, run, how)
  run.err = how == EXPIRED and 'the session of its node ran out' or 'its node has left'
  if run.retries == 0 or run.cancel == 1 then return runs.finish(ref, run, runs.LOST) end
  local input = call('HGET', P .. 'run:' .. ref, 'i')
  run.next = nextSeq()
  runs.finish(ref, run, runs.LOST)
  runs.put(ref, {
    status = runs.PENDING, run = run.next, sid = '', owner = '', asked = NOW, started = 0, stopped = 0, forget = 0,
    percent = 0, message = '', err = '', stack = '', cancel = 0, attempt = run.attempt + 1, retries = run.retries - 1,
    ttl = run.ttl, wait = run.wait, request = '', rev = run.rev, next = 0,
  }, input)
end

-- What an ended session ran is lost; returns what is left of the budget, or false if it was not enough.
function runs.endSession(sid, how, budget)
  if call('EXISTS', P .. 'runner:' .. sid) == 1 then runs.withdraw(sid, true) end
  local refs = call('SMEMBERS', P .. 'runs:' .. sid)
  table.sort(refs)
  for _, ref in ipairs(refs) do
    if budget <= 0 then
      unfinished = 1
      return false
    end
    budget = budget - 1
    runs.lose(ref, runs.read(ref), how)
  end
  return budget
end

-- Nobody came for those who have waited long enough.
function runs.giveUpWaiting()
  for _, ref in ipairs(call('ZRANGEBYSCORE', P .. 'run-waits', '-inf', NOW, 'LIMIT', 0, LIMITS[5])) do
    local run = runs.read(ref)
    run.err = 'no node took it in time'
    runs.finish(ref, run, runs.FAILED)
  end
  return tonumber(call('ZRANGE', P .. 'run-waits', 0, 0, 'WITHSCORES')[2]) or 0
end

-- Forgets so many that have been over for long enough; returns how many.
function runs.sweep(most)
  local refs = call('ZRANGEBYSCORE', P .. 'run-retention', '-inf', NOW, 'LIMIT', 0, most)
  for _, ref in ipairs(refs) do runs.forget(ref) end
  return #refs
end
