-- What: how settings are kept: a key's JSON value, its revision and who set it; the last changes of all and of each key. Revisions come from
--   the sequence of tokens, so that they never go back, whatever Redis loses.
-- Keys, after the prefix P:
--   settings         hash: key -> {revision, value, time (ms), author, request}
--   setting-names    zset, lexical: the keys
--   setting-log      list: the last changes {revision, the revision before, key, value or false, time, author, request}
--   setting-history  hash: key -> its last changes {revision, value, false if deleted or true if it was too long, time, author, request}, latest first
--   setting-deleted  zset: key -> the revision of its deletion, of the last ones
--   setting-requests zset: key and request id -> the revision of the change that was asked for, of the last ones
--   setting-meta     hash: rev the last change, asserted the revision up to which servers brought what Redis had lost, known: a server that
--                    was there before has done so, floor: the log has all that is later, gone: nothing is known of
--                    deletions up to here, bytes of keys and values, log: bytes of the log

-- One table: Lua allows no more than 200 locals in all.
local settings = {
  KEYS = {'settings', 'setting-names', 'setting-log', 'setting-history', 'setting-deleted', 'setting-requests', 'setting-meta'},
  LOG_MAX = 1000,
  LOG_BYTES_MAX = 1048576,
  HISTORY_MAX = 10,
  HISTORY_VALUE_BYTES = 1024,
  DELETED_MAX = 1000,
  REQUESTS_MAX = 10000,
}

function settings.whole(number)
  return string.format('%.0f', number)
end

-- A new epoch begins with what Redis still has of the settings of the one before. Servers that know better say so.
function settings.carry(old, new)
  if call('EXISTS', old .. 'setting-meta') == 0 then return end
  for i = 1, #settings.KEYS do
    if call('EXISTS', old .. settings.KEYS[i]) == 1 then call('RENAME', old .. settings.KEYS[i], new .. settings.KEYS[i]) end
  end
  call('HSET', new .. 'setting-meta', 'asserted', call('HGET', new .. 'setting-meta', 'rev') or 0, 'known', 0)
end

function settings.meta()
  local fields = call('HMGET', P .. 'setting-meta', 'rev', 'asserted', 'known', 'floor', 'bytes', 'log', 'gone')
  return {
    rev = tonumber(fields[1]) or 0,
    asserted = tonumber(fields[2]) or 0,
    known = fields[3] == '1',
    floor = tonumber(fields[4]) or 0,
    bytes = tonumber(fields[5]) or 0,
    log = tonumber(fields[6]) or 0,
    gone = tonumber(fields[7]) or 0,
  }
end

function settings.writeMeta(meta)
  call('HSET', P .. 'setting-meta', 'rev', settings.whole(meta.rev), 'asserted', settings.whole(meta.asserted), 'known', meta.known and 1 or 0,
    'floor', settings.whole(meta.floor), 'bytes', settings.whole(meta.bytes), 'log', settings.whole(meta.log), 'gone', settings.whole(meta.gone))
end

-- Has the server said what it knows of the epochs before? Have others had the time to? If not, what to answer.
function settings.refusal(meta, epoch)
  if string.match(P, ':([^:]+):$') ~= epoch then return {'unasserted'} end
  if inGrace and not meta.known then return {'grace', grace - NOW} end
end

function settings.read(key)
  local packed = call('HGET', P .. 'settings', key)
  return packed and cmsgpack.unpack(packed)
end

-- The revision and time of what was asked for before, if it was.
function settings.done(key, request, record)
  if record and record[5] == request then return record[1], record[3] end
  local revision = tonumber(call('ZSCORE', P .. 'setting-requests', key .. '\0' .. request))
  return revision, revision and math.floor(revision / 1000) -- as good as the time: see `nextSeq`
end

function settings.rememberRequest(key, request, revision)
  call('ZADD', P .. 'setting-requests', settings.whole(revision), key .. '\0' .. request)
  if call('ZCARD', P .. 'setting-requests') > settings.REQUESTS_MAX then call('ZPOPMIN', P .. 'setting-requests') end
end

-- The revision of the last change of a key, deletions too. Of one that is not there, and of which nothing is known, the last that it may have had.
function settings.changed(meta, key, record)
  if record then return record[1] end
  return tonumber(call('ZSCORE', P .. 'setting-deleted', key)) or math.max(meta.gone, meta.asserted)
end

function settings.history(key)
  local packed = call('HGET', P .. 'setting-history', key)
  return packed and cmsgpack.unpack(packed) or {}
end

function settings.sizeOf(key, record)
  return record and #key + #record[2] or 0
end

function settings.put(meta, key, record)
  meta.bytes = meta.bytes - settings.sizeOf(key, settings.read(key)) + settings.sizeOf(key, record)
  call('HSET', P .. 'settings', key, cmsgpack.pack(record))
  call('ZADD', P .. 'setting-names', 0, key)
  call('ZREM', P .. 'setting-deleted', key)
end

-- The last deletions are remembered, with what was before; they are not to be undone by a server that has not heard of them.
function settings.remove(meta, key, revision)
  meta.bytes = meta.bytes - settings.sizeOf(key, settings.read(key))
  call('HDEL', P .. 'settings', key)
  call('ZREM', P .. 'setting-names', key)
  call('ZADD', P .. 'setting-deleted', settings.whole(revision), key)
  if call('ZCARD', P .. 'setting-deleted') <= settings.DELETED_MAX then return end
  local forgotten = call('ZPOPMIN', P .. 'setting-deleted')
  meta.gone = math.max(meta.gone, tonumber(forgotten[2]))
  call('HDEL', P .. 'setting-history', forgotten[1])
end

function settings.remember(key, history, entry)
  table.insert(history, 1, entry)
  if #history > settings.HISTORY_MAX then table.remove(history) end
  call('HSET', P .. 'setting-history', key, cmsgpack.pack(history))
end

function settings.log(meta, change)
  local packed = cmsgpack.pack(change)
  local length = call('RPUSH', P .. 'setting-log', packed)
  meta.log = meta.log + #packed
  while length > settings.LOG_MAX or (meta.log > settings.LOG_BYTES_MAX and length > 1) do
    local oldest = call('LPOP', P .. 'setting-log')
    meta.log = meta.log - #oldest
    meta.floor = cmsgpack.unpack(oldest)[1]
    length = length - 1
  end
end

-- Carries a change out, and tells all servers. value: false to delete.
function settings.change(meta, key, value, author, request)
  local revision, before = nextSeq(), meta.rev
  if value then
    settings.put(meta, key, {revision, value, NOW, author, request})
  else
    settings.remove(meta, key, revision)
  end
  settings.remember(key, settings.history(key), {revision, value and #value > settings.HISTORY_VALUE_BYTES or value, NOW, author, request})
  settings.rememberRequest(key, request, revision)
  local change = {revision, before, key, value, NOW, author, request}
  settings.log(meta, change)
  meta.rev = revision
  settings.writeMeta(meta)
  call('PUBLISH', 'stafett:settings', cmsgpack.pack({P, change}))
  return {'changed', revision, before, NOW}
end
