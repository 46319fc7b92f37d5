-- What: the commands on events. Each takes its command {verb, ...} and returns its result {outcome, ...}. A publication that is
--   kept has an offset, from the namespace's one sequence, and names the offset before it in each of its feeds: in its channel and in
--   each prefix that covers it (`case/42`, `case/*`, `*`). So each feed is a chain, and a gap in it can be seen. A feed that has been silent
--   for so long that its end was forgotten had nothing after the horizon, for offsets are never behind the clock.
-- Events: each publication, kept or not, is published on `stafett:{namespace}:events:<channel>` as {epoch, offset or 0,
--   offsets before it, time, key, data}, and a change of who is present as {epoch, -1}.

local TAIL_TTL_MS = 90000000 -- 25 h: longer than any history
local LOG_MAX = 100000 -- publications of all channels that a subscriber to a prefix can go back
local LOG_PAGE = 1000
local REPLY_BYTES_MAX = 1000000

local function horizon()
  return NOW_US - TAIL_TTL_MS * 1000
end

local function decimal(number)
  return string.format('%.0f', number)
end

local function hint(channel, message)
  call('PUBLISH', string.match(P, '^[^}]*}:') .. 'events:' .. channel, message)
end

-- The namespace's epoch, as subscribers know it.
local function epochId()
  return string.sub(P, #string.match(P, '^[^}]*}:') + 1, -2)
end

-- A channel's last offset and its policy: size and age (ms), 0 if nothing of it is kept.
local function readChannel(channel)
  local offset, size, age = string.match(call('GET', P .. 'tail:' .. channel) or '', '^(%d+) (%d+) (%d+)$')
  return tonumber(offset), tonumber(size) or 0, tonumber(age) or 0
end

local function isPrefix(feed)
  return string.byte(feed, -1) == 42
end

-- The last offset of a feed; if that is forgotten, one that it was not behind.
local function tailOf(feed)
  local value = call('GET', P .. 'tail:' .. feed)
  return value and tonumber(string.match(value, '^%d+')) or horizon()
end

-- Appends to the chain of each feed; returns the offsets before.
local function link(feeds, offset, size, age)
  local before = {}
  for i, feed in ipairs(feeds) do
    local value = i == 1 and decimal(offset) .. ' ' .. size .. ' ' .. age or decimal(offset)
    local last = call('SET', P .. 'tail:' .. feed, value, 'PX', TAIL_TTL_MS, 'GET')
    before[i] = last and tonumber(string.match(last, '^%d+')) or horizon()
  end
  return before
end

local function keep(channel, id, message, size, age)
  local key = P .. 'history:' .. channel
  call('XADD', key, 'MAXLEN', size, id, 'm', message)
  call('XTRIM', key, 'MINID', decimal(NOW_US - age * 1000))
  call('PEXPIRE', key, age)
  call('XADD', P .. 'publications', 'MAXLEN', '~', LOG_MAX, id, 'c', channel)
  call('PEXPIRE', P .. 'publications', TAIL_TTL_MS)
end

-- A publication is {feeds (the channel first), data, key, idempotency key, {size, age (ms), 1 if that is not the publisher's to decide}}.
-- Returns its offset or 0, and 1 if it had been before.
local function publish(publication, window)
  local feeds, data, key, id, policy = unpack(publication)
  local channel = feeds[1]
  local done = id ~= '' and P .. 'published:' .. channel .. '\0' .. id
  local before = done and call('GET', done)
  if before then return {tonumber(before), 1} end
  local last, size, age = readChannel(channel)
  if not last or policy[3] == 1 then size, age = policy[1], policy[2] end
  local offset = 0
  if size == 0 then
    hint(channel, cmsgpack.pack({epochId(), 0, {}, NOW, key, data}))
  else
    offset = nextSeq()
    local message = cmsgpack.pack({epochId(), offset, link(feeds, offset, size, age), NOW, key, data})
    keep(channel, decimal(offset) .. '-0', message, size, age)
    hint(channel, message)
  end
  if done then call('SET', done, decimal(offset), 'PX', window) end
  return {offset, 0}
end

-- {publish, publications, how long an idempotency key is remembered (ms)} -> {published, epoch, {{offset or 0, 1 if it had been before}...}}.
-- One command for several, since commands may change places when they are sent again.
commands.publish = function(command)
  local results = {}
  for i, publication in ipairs(command[2]) do results[i] = publish(publication, command[3]) end
  return {'published', epochId(), results}
end

-- {tails, feeds} -> {tails, epoch, the last offset of each, the last one of the namespace}
commands.tails = function(command)
  local tails = {}
  for i, feed in ipairs(command[2]) do tails[i] = tailOf(feed) end
  if not seq then readState() end
  return {'tails', epochId(), tails, seq}
end

local function after(offset)
  return '(' .. decimal(offset)
end

-- An entry as it was published, without its epoch, and with its channel before it.
local function unpackEntry(channel, entry)
  local message = cmsgpack.unpack(entry[2][2])
  return {channel, unpack(message, 2, 6)}, #entry[2][2]
end

local function replayChannel(channel, from, limit)
  local _, _, age = readChannel(channel)
  local entries, bytes = {}, 0
  local found = call('XRANGE', P .. 'history:' .. channel, after(math.max(from, NOW_US - age * 1000 - 1)), '+', 'COUNT', limit)
  for i, entry in ipairs(found) do
    local size
    entries[i], size = unpackEntry(channel, entry)
    bytes = bytes + size
    if bytes >= REPLY_BYTES_MAX then break end
  end
  local last = entries[#entries]
  return entries, last and last[2] or from, (#entries < #found or #found == limit) and 1 or 0
end

-- By the list of all publications: whatever of it is not kept any more shows as a gap in the chain.
local function replayPrefix(prefix, from, limit)
  local start = string.sub(prefix, 1, -2)
  local entries, bytes, last = {}, 0, from
  local found = call('XRANGE', P .. 'publications', after(from), '+', 'COUNT', LOG_PAGE)
  for _, listed in ipairs(found) do
    local channel = listed[2][2]
    last = tonumber(string.match(listed[1], '^%d+'))
    if string.sub(channel, 1, #start) == start and (start ~= '' or string.byte(channel) ~= 36) then
      local entry = call('XRANGE', P .. 'history:' .. channel, listed[1], listed[1])[1]
      if entry then
        local size
        entries[#entries + 1], size = unpackEntry(channel, entry)
        bytes = bytes + size
      end
      if #entries == limit or bytes >= REPLY_BYTES_MAX then return entries, last, 1 end
    end
  end
  return entries, last, #found == LOG_PAGE and 1 or 0
end

-- {replay, feed, offset, limit} -> {replayed, epoch, {{channel, offset, offsets before, time, key, data}...} after the offset, where that ends,
-- 1 if there is more, the last offset of the feed, that of the namespace, size, age}
commands.replay = function(command)
  local _, feed, from, limit = unpack(command)
  local entries, last, more = (isPrefix(feed) and replayPrefix or replayChannel)(feed, from, limit)
  if not seq then readState() end
  local _, size, age = readChannel(feed)
  return {'replayed', epochId(), entries, last, more, tailOf(feed), seq, size, age}
end
