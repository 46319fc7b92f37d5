-- What: tells servers what happened to the callers that are connected to them.
-- Events: {'granted', lock, token, since, expires}, {'dropped', lock, how}, {'revoked', sid, lock},
--   {'unlocked', name, count, past, holder or false}, {'process', name}, {'instance', seq, sid, view or false},
--   {'run', view}: it has another state, {'runner', sid}: what it runs has changed, {'run_ended', ref, status, ms that it ran}: only
--   to the asking server.

local OUTBOX_TTL_MS = 60000

local function tell(server, event)
  local list = events[server]
  if not list then
    list = {}
    events[server] = list
  end
  list[#list + 1] = event
end

-- Hands over what concerns other servers; returns what concerns the asking one.
local function deliverEvents()
  if not next(events) then return events end
  local all = events
  events = {}
  for server, list in pairs(all) do
    if server ~= SERVER then
      local message = cmsgpack.pack({P, list})
      call('RPUSH', P .. 'outbox:' .. server, message)
      call('PEXPIRE', P .. 'outbox:' .. server, OUTBOX_TTL_MS)
      call('PUBLISH', 'stafett:server:' .. server, message)
    end
  end
  return all[SERVER] or {}
end
