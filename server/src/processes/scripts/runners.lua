-- What: who runs what. Sessions offer to run types; runs that wait are given to the least busy of them, in their order.
-- Keys, after the prefix P:
--   busy:<sid>        hash: type -> how many runs of it the session has
--   runner:<sid>      hash: v its server, k the stream by which it is told, l when it was given something last (ms)
--   offers:<sid>      hash: type -> how many runs it takes at a time
--   serving:<type>    set: sessions that serve the type
--   free:<type>       zset: session that has room for one more -> how busy it is
--   pending:<type>    zset: run_id -> ref that waits

-- Of two that are equally busy the one comes first that was given something longer ago.
local LATER = 1e-14

-- Its load or its offers have changed.
function runs.weigh(sid)
  local offers = call('HGETALL', P .. 'offers:' .. sid)
  if #offers == 0 then return end
  local last = tonumber(call('HGET', P .. 'runner:' .. sid, 'l')) or 0
  local load = string.format('%.14f', call('SCARD', P .. 'runs:' .. sid) + last * LATER)
  for i = 1, #offers, 2 do
    local busy = tonumber(call('HGET', P .. 'busy:' .. sid, offers[i])) or 0
    if busy < tonumber(offers[i + 1]) then
      call('ZADD', P .. 'free:' .. offers[i], load, sid)
    else
      call('ZREM', P .. 'free:' .. offers[i], sid)
    end
  end
end

function runs.attach(sid, ref)
  call('SADD', P .. 'runs:' .. sid, ref)
  call('HINCRBY', P .. 'busy:' .. sid, runs.typeOf(ref), 1)
  runs.count('running', 1)
  runs.weigh(sid)
end

function runs.detach(sid, ref)
  local type = runs.typeOf(ref)
  call('SREM', P .. 'runs:' .. sid, ref)
  if call('HINCRBY', P .. 'busy:' .. sid, type, -1) <= 0 then call('HDEL', P .. 'busy:' .. sid, type) end
  runs.count('running', -1)
  runs.weigh(sid)
end

-- The session serves nothing any more. `gone`: nor is it told of anything.
function runs.withdraw(sid, gone)
  for _, type in ipairs(call('HKEYS', P .. 'offers:' .. sid)) do
    call('SREM', P .. 'serving:' .. type, sid)
    call('ZREM', P .. 'free:' .. type, sid)
  end
  call('DEL', P .. 'offers:' .. sid)
  if gone then call('DEL', P .. 'runner:' .. sid) end
end

-- Something about the runs of the session is new; its server looks what it is.
function runs.tellRunner(sid)
  local server = call('HGET', P .. 'runner:' .. sid, 'v')
  if server then tell(server, {'runner', sid}) end
end

function runs.leastBusy(type)
  local sid = call('ZRANGE', P .. 'free:' .. type, 0, 0)[1]
  while sid and not alive(sid) do -- it has run out, though its turn to be ended has not come
    call('ZREM', P .. 'free:' .. type, sid)
    sid = call('ZRANGE', P .. 'free:' .. type, 0, 0)[1]
  end
  return sid
end

-- Gives those who wait to those who have room.
function runs.assign(type)
  while true do
    local ref = call('ZRANGE', P .. 'pending:' .. type, 0, 0)[1]
    local sid = ref and runs.leastBusy(type)
    if not sid then return end
    local run = runs.read(ref)
    runs.stopWaiting(ref)
    run.status, run.sid, run.owner, run.started = runs.RUNNING, sid, ownerOf(sid), NOW
    call('HSET', P .. 'runner:' .. sid, 'l', NOW)
    runs.attach(sid, ref)
    runs.save(ref, run)
    runs.tellRunner(sid)
  end
end
