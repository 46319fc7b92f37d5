#!lua name=@name
-- What: the coordination state machine of one namespace. Carries out a list of commands, in order, as one atomic step.
--   Sessions that have run out are ended first, so that no command ever meets a grant of a dead session unawares.
-- KEYS: [1] the prefix of the epoch with the namespace's hash tag, e.g. `stafett:{default}:mK3x:`. Every key is this prefix
--   plus a suffix (see `state.lua`), so all of them live in its slot. [2] the namespace's gate (see `epoch.lua`).
-- ARGV: [1] MessagePack {server, seen, limits, commands, pass}: the asking server's id, the highest token it has seen,
--   {maxWaiters, maxLocks, maxSessions, retentionMs, expireBudget, maxRuns}, commands {verb, ...} (see the `-commands.lua` files), and
--   {epoch, run, time expected or 0, tolerance}: what the server believes. If it is mistaken nothing is changed.
-- Reply: MessagePack {now, 'epoch' or 'clock'}, what the server is mistaken in; else
--   {now, seq, soonest, more, results, events, stats, grace}: Redis' time in ms; the highest token, 0 if not
--   looked at; the earliest deadline that this call set, 0 if none; 1 if ended sessions still have locks to give back;
--   one result per command; events for the asking server (see `events.lua`); {handoffs, expired, forced, held, waiting};
--   until when nothing is granted (ms), or 0.
-- Events: those for other servers are appended to `outbox:<server>` and published, as a hint, on `stafett:server:<server>`; changes of settings are published on
--   `stafett:settings`.

--@include state.lua
--@include events.lua
--@include ../../processes/scripts/slots.lua
--@include acquires.lua
--@include waits.lua
--@include grants.lua
--@include queues.lua
--@include settings.lua
--@include epoch.lua
--@include ../../instances/scripts/instances.lua
--@include ../../processes/scripts/runs.lua
--@include ../../processes/scripts/runners.lua
--@include expiry.lua
--@include views.lua
--@include short-way.lua
--@include session-commands.lua

-- Lua allows 200 locals in all: files that define nothing but commands keep theirs to themselves.
local expirePresence
do
--@include event-commands.lua
--@include presence-commands.lua
end
do
--@include setting-commands.lua
end
do
--@include lock-commands.lua
--@include joined-commands.lua
--@include ../../instances/scripts/instance-commands.lua
--@include read-commands.lua
end
do
--@include ../../processes/scripts/process-commands.lua
end
do
--@include ../../processes/scripts/run-commands.lua
end

local function run(keys, args)
  local batch, pass = begin(keys[1], args[1])
  local mistake = refusal(keys[2], pass)
  if mistake then return cmsgpack.pack({NOW, mistake}) end
  expireDue()
  endGrace(keys[2])
  local results = {}
  for i, command in ipairs(batch) do
    results[i] = commands[command[1]](command)
    settle()
  end
  tellProcesses()
  writeCounts(keys[2])
  return cmsgpack.pack({NOW, seq or 0, soonest, unfinished, results, deliverEvents(), stats, grace})
end

redis.register_function('@name', run)
redis.register_function('@name_epoch', enterEpoch)
