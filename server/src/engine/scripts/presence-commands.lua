-- What: the commands on presence: who is subscribed to a channel. A member hangs on its session, and on a lease that the server of its
--   stream renews, so it ends with either.
-- Events: see event-commands.lua.

local PRESENCE_PAGE = 1000
local MEMBERS_MAX = 10000 -- of a channel

local function presenceChanged(channel)
  hint(channel, cmsgpack.pack({epochId(), -1}))
end

local function removeMember(channel, id)
  call('ZREM', P .. 'present', channel .. '\0' .. id)
  if call('HDEL', P .. 'presence:' .. channel, id) > 0 then presenceChanged(channel) end
end

-- Those whose server, or whose session, is gone.
function expirePresence()
  for _, member in ipairs(call('ZRANGEBYSCORE', P .. 'present', '-inf', NOW, 'LIMIT', 0, PRESENCE_PAGE)) do
    local zero = string.find(member, '\0', 1, true)
    removeMember(string.sub(member, 1, zero - 1), string.sub(member, zero + 1))
  end
end

-- {attend, {{channel, member, sid}...}, ms} -> {attending, members whose session is gone, members that are too many}: the others are
-- there for so many ms
commands.attend = function(command)
  local gone, tooMany = {}, {}
  expirePresence()
  for _, member in ipairs(command[2]) do
    local channel, id, sid = unpack(member)
    if not alive(sid) then
      removeMember(channel, id)
      gone[#gone + 1] = id
    elseif call('HLEN', P .. 'presence:' .. channel) >= MEMBERS_MAX and call('HEXISTS', P .. 'presence:' .. channel, id) == 0 then
      tooMany[#tooMany + 1] = id
    else
      local isNew = call('HSETNX', P .. 'presence:' .. channel, id, cmsgpack.pack({sid, NOW, ownerOf(sid)})) == 1
      call('PEXPIRE', P .. 'presence:' .. channel, command[3])
      call('ZADD', P .. 'present', NOW + command[3], channel .. '\0' .. id)
      if isNew then presenceChanged(channel) end
    end
  end
  return {'attending', gone, tooMany}
end

-- {depart, {{channel, member}...}} -> {departed}
commands.depart = function(command)
  for _, member in ipairs(command[2]) do removeMember(member[1], member[2]) end
  return {'departed'}
end

-- {presence, channel} -> {present, {{member, sid, since, owner}...}, how many}: those who came first, at most 1,000 of them
commands.presence = function(command)
  expirePresence()
  local fields = call('HGETALL', P .. 'presence:' .. command[2])
  local members = {}
  for i = 1, #fields, 2 do
    local sid, since, owner = unpack(cmsgpack.unpack(fields[i + 1]))
    if alive(sid) then members[#members + 1] = {fields[i], sid, since, owner} end
  end
  table.sort(members, function(a, b) return a[3] < b[3] or (a[3] == b[3] and a[1] < b[1]) end)
  local count = #members
  for i = count, PRESENCE_PAGE + 1, -1 do members[i] = nil end
  return {'present', members, count}
end
