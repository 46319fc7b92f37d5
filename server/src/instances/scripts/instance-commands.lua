-- What: the commands on instances. Each takes its command {verb, ...} and returns its result {outcome, ...}.

-- {register_instance, sid, what it is, the client's connection or 0} -> {registered, since} | {gone} | {unconfirmed}: the session has to come
-- again | {moved}: the client has come by a later connection. The asking server has its stream.
commands.register_instance = function(command)
  local _, sid, record, generation = unpack(command)
  if not alive(sid) then return {inGrace and 'unconfirmed' or 'gone'} end
  if not isLatest(sid, generation) then return {'moved'} end
  local before = instances.viewOf(sid)
  local since = before and before[2] or NOW
  call('HSET', P .. 'session:' .. sid, 'i', record, 'is', since, 'iv', SERVER)
  call('ZADD', P .. 'instances', 0, sid)
  if not before or before[3] ~= SERVER or before[4] ~= record then instances.changed(sid, {sid, since, SERVER, record}) end
  return {'registered', since}
end

-- {detach_instance, sid} -> {detached} | {moved}: its stream to the asking server is broken, unless another one has it
commands.detach_instance = function(command)
  local view = instances.viewOf(command[2])
  if not view or view[3] ~= SERVER then return {'moved'} end
  call('HSET', P .. 'session:' .. command[2], 'iv', '')
  view[3] = ''
  instances.changed(command[2], view)
  return {'detached'}
end

-- {leave_instance, sid} -> {left} | {moved}: it does not want to be called any more, unless another server has its stream
commands.leave_instance = function(command)
  local view = instances.viewOf(command[2])
  if not view or view[3] ~= SERVER then return {'moved'} end
  instances.drop(command[2])
  return {'left'}
end

-- {instance, sid} -> {instance, view} | {none}
commands.instance = function(command)
  local view = alive(command[2]) and instances.viewOf(command[2])
  if not view then return {'none'} end
  return {'instance', view}
end

-- {instances, after, limit} -> {instances, views, last id looked at or '', changes so far}
commands.instances = function(command)
  local from = command[2] == '' and '-' or '(' .. command[2]
  local ids = call('ZRANGEBYLEX', P .. 'instances', from, '+', 'LIMIT', 0, command[3])
  local views = {}
  for _, sid in ipairs(ids) do
    if alive(sid) then views[#views + 1] = instances.viewOf(sid) end
  end
  return {'instances', views, #ids == command[3] and ids[#ids] or '', tonumber(call('HGET', P .. 'instance-watchers', 'seq')) or 0}
end

-- {watch_instances, ms} -> {watching, changes so far}: the asking server is told of changes for so long; 0: no longer
commands.watch_instances = function(command)
  local key = P .. 'instance-watchers'
  if command[2] == 0 then
    call('HDEL', key, SERVER)
  else
    call('HSET', key, SERVER, NOW + command[2])
  end
  return {'watching', tonumber(call('HGET', key, 'seq')) or 0}
end
