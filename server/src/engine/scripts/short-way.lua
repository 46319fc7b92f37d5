-- What: the short way for what happens most: one name, under a session, that nobody waits for or watches. It does exactly
--   what the general way does, without the tables that that needs, in two thirds of the time. Whatever is not so simple
--   gets nil, and takes the general way, with nothing changed.

-- {granted, ...} as `acquire`, or nil
local function acquireShort(sid, rid, name, owner)
  local deadline = deadlineOf(sid)
  local key = P .. 'lock:' .. name
  local packed = deadline > NOW and call('HGET', key, 's')
  if not packed or inGrace or acquireCount(sid) >= LIMITS[2] then return nil end
  local unlocks, queued, holder, rest = struct.unpack(LOCK, packed)
  if holder ~= '' or queued > 0 then return nil end
  local token = nextSeq()
  local acquire = struct.pack(WHOLE_ACQUIRE, GRANTED, token, NOW, 0, SERVER, owner, '', name)
  if call('HSETNX', acquiresKey(sid), rid, acquire) == 0 then return nil end -- a repetition
  acquireCounts[sid] = acquireCounts[sid] + 1
  call('HSET', key, 's', struct.pack(WHOLE_LOCK, unlocks, 0, sid .. '.' .. rid, string.sub(packed, rest)))
  count(1, 0)
  return {'granted', token, NOW, deadline, 0}
end

-- {released, ms it was held, name}, or nil
local function releaseShort(id)
  local sid, rid = split(id)
  if isLease(sid) or not alive(sid) then return nil end
  local packed = call('HGET', acquiresKey(sid), rid)
  if not packed then return nil end
  local state, token, since, _, _, owner, _, name = struct.unpack(ACQUIRE, packed)
  name = string.sub(packed, name)
  if state ~= GRANTED or string.find(name, '\0', 1, true) or isReserved(name) then return nil end
  local key = P .. 'lock:' .. name
  packed = call('HGET', key, 's')
  local unlocks, queued, _, watchers = struct.unpack(LOCK, packed)
  if queued > 0 or watchers <= #packed then return nil end
  unlocks = unlocks + 1
  local past = struct.pack(PAST, RELEASED, token, since, NOW, sid, owner, ownerOf(sid))
  call('HSET', key, 's', struct.pack(LOCK, unlocks, 0, ''), unlocks % HISTORY, past)
  call('HDEL', acquiresKey(sid), rid)
  if acquireCounts[sid] then acquireCounts[sid] = acquireCounts[sid] - 1 end
  count(-1, 0)
  return {'released', NOW - since, name}
end
