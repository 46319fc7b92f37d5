-- What: the commands on runs. Each takes its command {verb, ...} and returns its result {outcome, ...}. A view is
--   {ref, run, result or ''}, see runs.lua.

-- Why the run cannot begin, or nil.
local function refuseStart(known, sid, type, wait, generation)
  if not known and inGrace then return {'grace', grace - NOW} end
  if sid ~= '' then
    local latest = isLatest(sid, generation)
    if not latest then return {'moved'} end
    if not alive(sid) then return {inGrace and 'unconfirmed' or 'gone'} end
  elseif wait == 0 and call('SCARD', P .. 'serving:' .. type) == 0 then
    return {'no_runner'}
  end
  if not known and call('ZCARD', P .. 'run-names') >= LIMITS[6] then return {'too_many_runs'} end
end

-- {start_run, ref, sid of who runs it or '', restart 0|1, request, input, ttl, retries, how long to wait for a runner or 0: the usual time,
-- and only if there is one, the client's connection or 0} -> {run, view, started 0|1} | {none} | {grace, ms left} | {moved} |
-- {unconfirmed} | {gone} | {no_runner} | {too_many_runs}. The same request again finds what it started.
commands.start_run = function(command)
  local _, ref, sid, restart, request, input, ttl, retries, wait, generation = unpack(command, 1, 10)
  runs.sweep(RUNS_FORGOTTEN)
  local known = runs.read(ref)
  local same = known and known.request == request
  if known and (same or restart == 0 or not runs.isOver(known)) then
    return {'run', runs.view(ref, known), same and (sid == '' or sid == known.sid) and 1 or 0}
  end
  if restart == 0 and not inGrace then return {'none'} end
  local refusal = refuseStart(known, sid, runs.typeOf(ref), wait, generation)
  if refusal then return refusal end
  local here = sid ~= ''
  runs.put(ref, {
    status = here and runs.RUNNING or runs.PENDING, run = nextSeq(), sid = sid, owner = here and ownerOf(sid) or '',
    asked = NOW, started = here and NOW or 0, stopped = 0, forget = 0, percent = 0, message = '', err = '', stack = '',
    cancel = 0, attempt = 1, retries = retries, ttl = ttl, wait = wait > 0 and wait or RUN_WAIT_MS, request = request,
    rev = known and known.rev or 0, next = 0,
  }, input)
  return {'run', runs.view(ref, runs.read(ref)), 1}
end

local ENDS = {succeeded = runs.SUCCEEDED, failed = runs.FAILED, cancelled = runs.CANCELLED}

-- {report_run, sid, ref, run, 'progress', percent, message | 'succeeded', result | 'failed', message, stack | 'cancelled'} ->
-- {reported, is it to be cancelled 0|1} | {stale, view or false} | {unconfirmed}
commands.report_run = function(command)
  local _, sid, ref, id, what, first, second = unpack(command, 1, 7)
  local run = runs.read(ref)
  local own = run and run.run == id and run.sid == sid
  if own and ENDS[what] and run.status == ENDS[what] then return {'reported', 0} end -- a repetition
  if not run and inGrace then return {'unconfirmed'} end
  if not own or runs.isOver(run) or not alive(sid) then return {'stale', run and runs.view(ref, run)} end
  if what == 'progress' then
    run.percent, run.message = first, second
    runs.save(ref, run)
    return {'reported', run.cancel}
  end
  if what == 'failed' then run.err, run.stack = first, second end
  if what == 'succeeded' then call('HSET', P .. 'run:' .. ref, 'r', first) end
  runs.finish(ref, run, ENDS[what])
  return {'reported', 0}
end

-- {cancel_run, ref, run or 0} -> {run, view} | {none} | {grace, ms left}. With a run: only if it is still that one. A run that is over stays what it is.
commands.cancel_run = function(command)
  local _, ref, id = unpack(command)
  local run = runs.read(ref)
  if not run then return inGrace and {'grace', grace - NOW} or {'none'} end
  if runs.isOver(run) or (id ~= 0 and id ~= run.run) or run.cancel == 1 then return {'run', runs.view(ref, run)} end
  run.cancel = 1
  if run.status == runs.PENDING then
    runs.finish(ref, run, runs.CANCELLED)
  else
    runs.save(ref, run)
    runs.tellRunner(run.sid)
  end
  return {'run', runs.view(ref, run)}
end

-- {get_run, ref} -> {run, view} | {none} | {grace, ms left}
commands.get_run = function(command)
  local run = runs.read(command[2])
  if run then return {'run', runs.view(command[2], run)} end
  return inGrace and {'grace', grace - NOW} or {'none'}
end

-- {watch_run, ref, ms, or 0 to end it} -> as get_run. This server is told of the run's states for so many ms
commands.watch_run = function(command)
  local _, ref, ms = unpack(command)
  local result = commands.get_run({'get_run', ref})
  if result[1] ~= 'run' then return result end
  local packed = call('HGET', P .. 'run:' .. ref, 'w')
  local watchers = {}
  for server, time in pairs(packed and cmsgpack.unpack(packed) or {}) do
    if time > NOW and server ~= SERVER then watchers[server] = time end
  end
  if ms > 0 then watchers[SERVER] = NOW + ms end
  if next(watchers) then
    call('HSET', P .. 'run:' .. ref, 'w', cmsgpack.pack(watchers))
  else
    call('HDEL', P .. 'run:' .. ref, 'w')
  end
  return result
end

-- {list_runs, type or '', after, limit, status or 0} -> {runs, views without results, last ref looked at or ''}
commands.list_runs = function(command)
  local _, type, after, limit, status = unpack(command)
  local from, to = '-', '+'
  if type ~= '' then from, to = '[' .. type .. '/', '(' .. type .. '0' end -- '0' follows '/'
  if after ~= '' and (type == '' or runs.typeOf(after) == type) then from = '(' .. after end -- else: from another list
  local refs = call('ZRANGEBYLEX', P .. 'run-names', from, to, 'LIMIT', 0, limit)
  local views = {}
  for _, ref in ipairs(refs) do
    local run = runs.read(ref)
    if run and (status == 0 or run.status == status) then views[#views + 1] = {ref, run, ''} end
  end
  return {'runs', views, #refs == limit and refs[#refs] or ''}
end

-- What the session runs: {ref, run, is it to be cancelled 0|1}...
local function heldBy(sid)
  local held = {}
  for _, ref in ipairs(call('SMEMBERS', P .. 'runs:' .. sid)) do
    local run = runs.read(ref)
    held[#held + 1] = {ref, run.run, run.cancel}
  end
  return held
end

-- {serve_runs, sid, stream, {type, how many, ...}} -> {held, what it runs} | {gone} | {unconfirmed}. What it offers from now on, and by
-- which stream it hears of it.
commands.serve_runs = function(command)
  local _, sid, stream, offers = unpack(command)
  if not alive(sid) then return {inGrace and 'unconfirmed' or 'gone'} end
  runs.withdraw(sid)
  call('HSET', P .. 'runner:' .. sid, 'v', SERVER, 'k', stream)
  for i = 1, #offers, 2 do
    call('HSET', P .. 'offers:' .. sid, offers[i], offers[i + 1])
    call('SADD', P .. 'serving:' .. offers[i], sid)
  end
  runs.weigh(sid)
  for i = 1, #offers, 2 do runs.assign(offers[i]) end
  return {'held', heldBy(sid)}
end

-- {unserve_runs, sid, stream} -> {unserved}. Unless it has another stream meanwhile.
commands.unserve_runs = function(command)
  local _, sid, stream = unpack(command)
  if call('HGET', P .. 'runner:' .. sid, 'k') == stream then runs.withdraw(sid, true) end
  return {'unserved'}
end

-- {held_runs, sid} -> {held, what it runs} | {gone} | {unconfirmed}
commands.held_runs = function(command)
  if not alive(command[2]) then return {inGrace and 'unconfirmed' or 'gone'} end
  return {'held', heldBy(command[2])}
end

-- {run_input, ref, run} -> {input, view, input} | {none}: it is over
commands.run_input = function(command)
  local _, ref, id = unpack(command)
  local run = runs.read(ref)
  if not run or run.run ~= id or runs.isOver(run) then return {'none'} end
  return {'input', runs.view(ref, run), call('HGET', P .. 'run:' .. ref, 'i')}
end

-- {claim_run, sid, ref, run, input, asked, started, percent, message, cancel 0|1, attempt, retries, ttl, request} ->
-- {claimed} | {conflict} | {gone}: it is too late. A run of the epoch before, by its runner.
commands.claim_run = function(command)
  local _, sid, ref, id, input, asked, started, percent, message, cancel, attempt, retries, ttl, request = unpack(command, 1, 14)
  if not alive(sid) then return {'gone'} end
  local known = runs.read(ref)
  if known and known.run == id and known.sid == sid and not runs.isOver(known) then return {'claimed'} end
  if not inGrace then return {'gone'} end
  if known and (not runs.isOver(known) or known.run >= id) then return {'conflict'} end
  atLeast(id)
  runs.put(ref, {
    status = runs.RUNNING, run = id, sid = sid, owner = ownerOf(sid), asked = asked, started = started, stopped = 0, forget = 0,
    percent = percent, message = message, err = '', stack = '', cancel = cancel, attempt = attempt, retries = retries,
    ttl = ttl, wait = RUN_WAIT_MS, request = request, rev = known and known.rev or 0, next = 0,
  }, input)
  return {'claimed'}
end
