-- What: the commands on settings (see settings.lua). Each takes {verb, epoch in which the server has asserted what it knows, ...} and returns
--   {outcome, ...}, of which each may be {unasserted}: this is another epoch, or {grace, ms}: servers that know more may still come.

-- {setting_change, epoch, key, value or false to delete, the revision that it must have or -1, the one after which it must not have been
-- changed or -1, author, request, settings at the most, bytes at the most}
-- -> {changed, revision, the revision before or -1 if it was asked for before, time} | {absent} | {mismatch, revision, that of the last change} |
-- {too_many}
commands.setting_change = function(command)
  local _, epoch, key, value, ifRevision, unchangedSince, author, request, countMax, bytesMax = unpack(command)
  local meta = settings.meta()
  local refused = settings.refusal(meta, epoch)
  if refused then return refused end
  local record = settings.read(key)
  local done, time = settings.done(key, request, record)
  if done then return {'changed', done, -1, time} end
  if inGrace then return {'grace', grace - NOW} end -- another server may know of a later change, and that this one was made before
  local revision, changed = record and record[1] or 0, settings.changed(meta, key, record)
  if ifRevision >= 0 and ifRevision ~= revision then return {'mismatch', revision, changed} end
  if not value and not record then return {'absent'} end
  if unchangedSince >= 0 and unchangedSince < changed then return {'mismatch', revision, changed} end
  if value then
    local grows = #key + #value - settings.sizeOf(key, record)
    if grows > 0 and meta.bytes + grows > bytesMax then return {'too_many'} end
    if not record and call('ZCARD', P .. 'setting-names') >= countMax then return {'too_many'} end
  end
  return settings.change(meta, key, value, author, request)
end

-- {setting_get, epoch, key} -> {setting, {revision, value, time, author, request} or false}
commands.setting_get = function(command)
  local refused = settings.refusal(settings.meta(), command[2])
  return refused or {'setting', settings.read(command[3]) or false}
end

-- {setting_history, epoch, key} -> {history, {{revision, value, false or true, time, author, request}...}}
commands.setting_history = function(command)
  local refused = settings.refusal(settings.meta(), command[2])
  return refused or {'history', settings.history(command[3])}
end

-- {setting_list, epoch, prefix, after, limit, bytes} -> {settings, {{key, record}...}, last key looked at or ''}
commands.setting_list = function(command)
  local _, epoch, prefix, after, limit, bytes = unpack(command)
  local refused = settings.refusal(settings.meta(), epoch)
  if refused then return refused end
  local from = prefix == '' and '-' or '[' .. prefix
  if after ~= '' and string.sub(after, 1, #prefix) == prefix then from = '(' .. after end -- else: from another list
  local to = prefix == '' and '+' or '(' .. prefix .. '\255' -- no UTF-8 has this byte
  local keys = call('ZRANGEBYLEX', P .. 'setting-names', from, to, 'LIMIT', 0, limit)
  local views = {}
  for i, key in ipairs(keys) do
    local record = settings.read(key)
    bytes = bytes - settings.sizeOf(key, record)
    if bytes < 0 and i > 1 then return {'settings', views, keys[i - 1]} end
    views[i] = {key, record}
  end
  return {'settings', views, #keys == limit and keys[#keys] or ''}
end

-- {setting_dump, epoch} -> {dump, revision, floor of the log, {key, record, key, record...}, log}: all there is
commands.setting_dump = function(command)
  local meta = settings.meta()
  local refused = settings.refusal(meta, command[2])
  if refused then return refused end
  local all = call('HGETALL', P .. 'settings')
  for i = 2, #all, 2 do all[i] = cmsgpack.unpack(all[i]) end
  local changes = call('LRANGE', P .. 'setting-log', 0, -1)
  for i = 1, #changes do changes[i] = cmsgpack.unpack(changes[i]) end
  return {'dump', meta.rev, meta.floor, all, changes}
end

-- {setting_since, epoch, revision} -> {changes, {change...}} | {compacted}: what was changed later
commands.setting_since = function(command)
  local _, epoch, revision = unpack(command)
  local meta = settings.meta()
  local refused = settings.refusal(meta, epoch)
  if refused then return refused end
  if revision >= meta.rev then return {'changes', {}} end
  if revision < meta.floor then return {'compacted'} end
  local changes = {}
  for _, packed in ipairs(call('LRANGE', P .. 'setting-log', 0, -1)) do
    local change = cmsgpack.unpack(packed)
    if change[1] > revision then changes[#changes + 1] = change end
  end
  return {'changes', changes}
end

-- Takes over what a server knows: all settings as they were at a revision. What has changed since then stays.
function settings.takeOver(meta, revision, entries)
  local present = {}
  for i = 1, #entries, 2 do present[entries[i]] = entries[i + 1] end
  local all = call('HGETALL', P .. 'settings')
  for i = 1, #all, 2 do
    if not present[all[i]] and cmsgpack.unpack(all[i + 1])[1] <= revision then settings.remove(meta, all[i], revision) end
  end
  for key, record in pairs(present) do
    local deleted = tonumber(call('ZSCORE', P .. 'setting-deleted', key)) or 0
    local now = settings.read(key)
    if deleted < record[1] and (not now or now[1] < record[1]) then settings.put(meta, key, record) end
  end
end

-- {setting_assert, epoch, revision, from a file 0|1, {key, record, key, record...}, {key, request, revision...}} -> {asserted, was it news 0|1}:
-- what a server knows from the epochs before, to which Redis may have lost it: settings, and who has asked for changes. The highest revision wins;
-- a file only as long as nothing was changed.
commands.setting_assert = function(command)
  local _, epoch, revision, fromFile, entries, requests = unpack(command)
  if string.match(P, ':([^:]+):$') ~= epoch then return {'unasserted'} end
  local meta = settings.meta()
  local isNews = revision > meta.asserted and (fromFile == 0 or meta.rev <= meta.asserted)
  local becomesKnown = not meta.known
  for i = 1, #requests, 3 do settings.rememberRequest(requests[i], requests[i + 1], requests[i + 2]) end
  if isNews then
    settings.takeOver(meta, revision, entries)
    call('DEL', P .. 'setting-log')
    meta.asserted, meta.rev, meta.log = revision, math.max(meta.rev, revision), 0
    meta.floor = meta.rev
    atLeast(revision)
  end
  meta.known = meta.known or isNews or fromFile == 0
  settings.writeMeta(meta)
  if isNews or becomesKnown then call('PUBLISH', 'stafett:settings', cmsgpack.pack({P, false})) end
  return {'asserted', isNews and 1 or 0}
end
