#!lua name=@name
-- What: the coordination state machine of one namespace. Carries out a list of commands, in order, as one atomic step.
--   Sessions that have run out are ended first, so that no command ever meets a grant of a dead session unawares.
-- KEYS: [1] the namespace's prefix with its hash tag, e.g. `stafett:{default}:`. Every key is this prefix plus a suffix
--   (see `state.lua`), so all of them live in its slot.
-- ARGV: [1] MessagePack {server, seen, limits, commands}: the asking server's id, the highest token it has seen,
--   {maxWaiters, maxLocks, maxSessions, retentionMs, expireBudget}, and commands {verb, ...} (see `commands.lua`).
-- Reply: MessagePack {now, seq, soonest, more, results, events, stats}: Redis' time in ms; the highest token, 0 if not
--   looked at; the earliest deadline that this call set, 0 if none; 1 if ended sessions still have locks to give back;
--   one result per command; events for the asking server (see `events.lua`); {handoffs, expired, forced, held, waiting}.
-- Events: those for other servers are appended to `outbox:<server>` and published, as a hint, on `stafett:server:<server>`.

--@include state.lua
--@include events.lua
--@include acquires.lua
--@include waits.lua
--@include grants.lua
--@include queues.lua
--@include expiry.lua
--@include views.lua
--@include short-way.lua
--@include session-commands.lua
--@include lock-commands.lua
--@include read-commands.lua

local function run(keys, args)
  local batch = begin(keys[1], args[1])
  expireDue()
  local results = {}
  for i, command in ipairs(batch) do
    results[i] = commands[command[1]](command)
    settle()
  end
  writeState()
  return cmsgpack.pack({NOW, seq or 0, soonest, unfinished, results, deliverEvents(), stats})
end

redis.register_function('@name', run)
