-- What: the short way for what happens most: one name, under a session, that nobody watches: taken, queued for, given back, and
--   handed over to the next in line. It does exactly what the general way does, without the tables and the second looks that
--   that needs. Whatever is not so simple gets nil, and takes the general way, with nothing changed.

-- The token of the grant, or {queued, ...} as `acquire`, or nil
local function acquireShort(sid, rid, name, wait, owner)
  local deadline = deadlineOf(sid)
  local key = P .. 'lock:' .. name
  local packed = deadline > NOW and call('HGET', key, 's')
  if not packed or inGrace or acquireCount(sid) >= LIMITS[2] then return nil end
  local unlocks, queued = struct.unpack(LOCK_NUMBERS, packed)
  local free = queued == 0 and string.byte(packed, LOCK_HOLDER) == 0
  if not free and (wait == 0 or queued >= LIMITS[1]) then return nil end
  local number = nextSeq()
  local acquire = struct.pack(WHOLE_ACQUIRE, free and GRANTED or WAITING, number, NOW, 0, SERVER, owner, '', name)
  if call('HSETNX', acquiresKey(sid), rid, acquire) == 0 then return nil end -- a repetition
  acquireCounts[sid] = acquireCounts[sid] + 1
  if free then
    call('HSET', key, 's', struct.pack(WHOLE_LOCK, unlocks, 0, sid .. '.' .. rid, string.sub(packed, LOCK_HOLDER + 1)))
    count(1, 0)
    return number
  end
  call('ZADD', P .. 'queue:' .. name, number, join(sid, rid))
  call('HSET', key, 's', struct.pack(LOCK_NUMBERS, unlocks, queued + 1) .. string.sub(packed, LOCK_HOLDER))
  count(0, 1)
  return {'queued', number, NOW}
end

-- The head of the queue, if it can have the name: it lives, waits for nothing else and holds nothing. Its lock id, server
-- and owner, or nil.
local function heirOf(name)
  local id = not inGrace and headOf(name)
  if not id then return nil end
  local sid, rid = split(id)
  local packed = not isLease(sid) and alive(sid) and call('HGET', acquiresKey(sid), rid)
  if not packed then return nil end
  local _, _, _, _, server, owner, context, rest = struct.unpack(ACQUIRE, packed)
  if context ~= '' or string.sub(packed, rest) ~= name then return nil end
  return id, server, owner
end

-- What `give` does for one who waited, but for the record of the name.
local function inherit(name, id, server, owner)
  local sid, rid = split(id)
  local token = nextSeq()
  call('ZREM', P .. 'queue:' .. name, id)
  call('HSET', acquiresKey(sid), rid, struct.pack(WHOLE_ACQUIRE, GRANTED, token, NOW, 0, server, owner, '', name))
  stats[HANDOFFS] = stats[HANDOFFS] + 1
  tell(server, {'granted', id, token, NOW, deadlineOf(sid)})
  count(1, -1)
  serveReserved()
end

-- How long it was held (ms) and its name, or nil
local function releaseShort(sid, rid)
  if isLease(sid) or not alive(sid) then return nil end
  local packed = call('HGET', acquiresKey(sid), rid)
  if not packed then return nil end
  local state, token, since, _, _, owner, _, rest = struct.unpack(ACQUIRE, packed)
  local name = string.sub(packed, rest)
  if state ~= GRANTED or string.find(name, '\0', 1, true) or isReserved(name) then return nil end
  local key = P .. 'lock:' .. name
  packed = call('HGET', key, 's')
  local unlocks, queued = struct.unpack(LOCK_NUMBERS, packed)
  if string.find(packed, '\0', LOCK_HOLDER, true) < #packed then return nil end -- somebody watches
  local heir, server, heirOwner
  if queued > 0 then
    heir, server, heirOwner = heirOf(name)
    if not heir then return nil end
    queued = queued - 1
  end
  unlocks = unlocks + 1
  local past = struct.pack(PAST, RELEASED, token, since, NOW, sid, owner, ownerOf(sid))
  call('HSET', key, 's', struct.pack(LOCK, unlocks, queued, heir or ''), HISTORY_FIELDS[unlocks % HISTORY], past)
  call('HDEL', acquiresKey(sid), rid)
  if acquireCounts[sid] then acquireCounts[sid] = acquireCounts[sid] - 1 end
  count(-1, 0)
  if heir then inherit(name, heir, server, heirOwner) end
  return NOW - since, name
end
