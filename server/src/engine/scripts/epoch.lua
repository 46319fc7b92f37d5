-- What: the gate in front of every call, and the grace period. An epoch is one life of Redis' data: all keys of an epoch
--   have its id in their prefix, so that what is left of another one is never met.
-- Key: the gate, a hash: id of the epoch; run: the life of Redis' data (`lifeOf`) that it is in, missing while its slot may be on the move to another;
--   last: the same, never missing; began: when (ms); grace: until when nothing is granted (ms), 0 once everybody who queued meanwhile has been looked at;
--   s: what is counted (see `COUNTS`).

-- Is the call of this epoch, this Redis, and this time? If not, why not.
local function refusal(gate, ticket)
  local id, run, expected, tolerance = unpack(ticket)
  local fields = call('HMGET', gate, 'id', 'run', 'grace', 's')
  if fields[1] ~= id or fields[2] ~= run then return 'epoch' end
  if expected > 0 and math.abs(NOW - expected) > tolerance then return 'clock' end
  grace = tonumber(fields[3])
  inGrace = NOW < grace
  readCounts(fields[4])
end

-- The grace period is over: serves those who queued meanwhile, so many names in one call.
local function endGrace(gate)
  if grace == 0 or inGrace then return end
  local names = call('SPOP', P .. 'graced', LIMITS[5])
  if #names == 0 then
    call('HSET', gate, 'grace', 0)
    grace = 0
    return
  end
  for _, name in ipairs(names) do dirty[#dirty + 1] = name end
  settle()
  unfinished = 1
end

-- KEYS: the prefix of the namespace, the gate. {the epochs that have to go, with spaces between them, run, id for a new one, grace (ms), until when instead if there
-- was none (ms) or '', since when one that stays must have begun (ms), an epoch that has come here whole or '', and from which run} -> {id, grace until, began 0|1, now}. Begins an epoch if there
-- is none of this Redis process, or if that has to go.
local function enterEpoch(keys, args)
  makeLocal()
  local prefix, gate = keys[1], keys[2]
  local left, run, id, graceMs, firstUntil, oldest, whole, from = unpack(args, 1, 8)
  local clock = call('TIME')
  local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
  local fields = call('HMGET', gate, 'id', 'run', 'grace', 'last', 'began')
  local shown = string.format('%.0f', now)
  local stays = fields[1] and not string.find(' ' .. left .. ' ', ' ' .. fields[1] .. ' ', 1, true) and tonumber(fields[5] or 0) >= tonumber(oldest)
  if stays and fields[2] ~= run and fields[1] == whole and fields[4] == from then
    call('HSET', gate, 'run', run, 'last', run)
    fields[2] = run
  end
  if stays and fields[2] == run then return {fields[1], fields[3], '0', shown} end
  local graceEnd = not fields[1] and tonumber(firstUntil) or now + graceMs
  local graceUntil = string.format('%.0f', graceEnd > now and graceEnd or 0)
  if fields[1] then
    readCounts(call('HGET', gate, 's'))
    call('HSET', gate, 's', struct.pack(COUNTS, lastSeq, 0, 0, 0, 0)) -- tokens go on, all else begins anew
    settings.carry(prefix .. fields[1] .. ':', prefix .. id .. ':')
    call('SADD', prefix .. 'old', fields[1])
  end
  call('HSET', gate, 'id', id, 'run', run, 'last', run, 'grace', graceUntil, 'began', shown)
  return {id, graceUntil, '1', shown}
end
