-- What: the short way for what happens most: one name, under a session, that nobody watches: taken, queued for, given back, and
--   handed over to the next in line. It does exactly what the general way does, without the tables and the second looks that
--   that needs. Whatever is not so simple gets nil, and takes the general way, with nothing changed.

-- May acquires of the session go the short way at all?
local function isShortFor(sid)
  return not inGrace and alive(sid)
end

-- The token of the grant, or {queued, ...} as `acquire`, or nil. Under a session for which `isShortFor`; acquires: its `acquiresKey`.
local function acquireShort(sid, acquires, rid, name, wait, owner)
  local key = P .. 'lock:' .. name
  local packed = call('HGET', key, 's')
  if not packed or (acquireCounts[sid] or acquireCount(sid)) >= LIMITS[2] then return nil end
  local unlocks, queued = struct.unpack(LOCK_NUMBERS, packed)
  local free = queued == 0 and (#packed == LOCK_HOLDER or string.byte(packed, LOCK_HOLDER) == 0)
  if not free and (wait == 0 or queued >= LIMITS[1]) then return nil end
  local number = nextSeq()
  local acquire = struct.pack(WHOLE_ACQUIRE, free and GRANTED or WAITING, number, NOW, 0, 0, SERVER, owner, '', name)
  if call('HSETNX', acquires, rid, acquire) == 0 then return nil end -- a repetition
  acquireCounts[sid] = acquireCounts[sid] + 1
  if free then
    local watchers = #packed > LOCK_HOLDER and string.sub(packed, LOCK_HOLDER + 1) or ''
    call('HSET', key, 's', struct.pack(WHOLE_LOCK, unlocks, 0, sid .. '.' .. rid, watchers))
    held, counted = held + 1, true
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
  local _, _, _, _, _, server, owner, context, rest = struct.unpack(ACQUIRE, packed)
  if context ~= '' or string.sub(packed, rest) ~= name then return nil end
  return id, server, owner
end

-- What `give` does for one who waited, but for the record of the name.
local function inherit(name, id, server, owner)
  local sid, rid = split(id)
  local token = nextSeq()
  call('ZREM', P .. 'queue:' .. name, id)
  call('HSET', acquiresKey(sid), rid, struct.pack(WHOLE_ACQUIRE, GRANTED, token, NOW, 0, 0, server, owner, '', name))
  stats[HANDOFFS] = stats[HANDOFFS] + 1
  tell(server, {'granted', id, token, NOW, deadlineOf(sid)})
  count(1, -1)
  serveReserved()
  settle()
end

-- How long it was held (ms) and its name, or nil. Under a session that lives, and is no lease; acquires: its `acquiresKey`.
local function releaseShort(sid, acquires, rid)
  local packed = call('HGET', acquires, rid)
  if not packed then return nil end
  local state, token, since, _, _, _, owner, _, rest = struct.unpack(ACQUIRE, packed)
  local name = string.sub(packed, rest)
  if state ~= GRANTED or string.byte(name) == RESERVED then return nil end
  local key = P .. 'lock:' .. name
  packed = call('HGET', key, 's')
  if not packed then return nil end -- they are several names
  local unlocks, queued = struct.unpack(LOCK_NUMBERS, packed)
  if #packed > LOCK_HOLDER + #sid + 1 + #rid then return nil end -- longer than with its holder alone: somebody watches
  local heir, server, heirOwner
  if queued > 0 then
    heir, server, heirOwner = heirOf(name)
    if not heir then return nil end
    queued = queued - 1
  end
  unlocks = unlocks + 1
  local past = struct.pack(PAST, RELEASED, token, since, NOW, sid, owner, owners[sid] or ownerOf(sid))
  call('HSET', key, 's', struct.pack(LOCK, unlocks, queued, heir or ''), HISTORY_FIELDS[unlocks % HISTORY], past)
  call('HDEL', acquires, rid)
  if acquireCounts[sid] then acquireCounts[sid] = acquireCounts[sid] - 1 end
  held, counted = held - 1, true
  if heir then inherit(name, heir, server, heirOwner) end
  return NOW - since, name
end
