-- What: instances, the sessions that can be called, and the servers that are told of them. What an instance is stands in the
--   record of its session (`session:<sid>`), so that it goes with that, in the same step.
-- Keys: instances, zset, lexical: the sessions that are instances. instance-watchers, hash: server -> until when it is told (ms);
--   `seq` counts the changes.
-- Events: {'instance', seq, sid, view or false}; see `viewOf`.

local instances = {}

-- {sid, since, server that has its stream or '', what it is}; false if it is none
instances.viewOf = function(sid)
  local fields = call('HMGET', P .. 'session:' .. sid, 'i', 'is', 'iv')
  return fields[1] and {sid, tonumber(fields[2]), fields[3], fields[1]} or false
end

-- Tells the servers that watch.
instances.changed = function(sid, view)
  local seqNow = call('HINCRBY', P .. 'instance-watchers', 'seq', 1)
  local watchers = call('HGETALL', P .. 'instance-watchers')
  for i = 1, #watchers, 2 do
    if watchers[i] ~= 'seq' and tonumber(watchers[i + 1]) > NOW then
      tell(watchers[i], {'instance', seqNow, sid, view})
    elseif watchers[i] ~= 'seq' then
      call('HDEL', P .. 'instance-watchers', watchers[i])
    end
  end
end

-- Takes it off the list; it is no error if it is not there.
instances.drop = function(sid)
  if call('ZREM', P .. 'instances', sid) == 0 then return end
  call('HDEL', P .. 'session:' .. sid, 'i', 'is', 'iv')
  instances.changed(sid, false)
end
