-- What: acquires and releases that follow each other, as clients ask for them in runs, or as servers join them (`joined-commands.ts`): they come
--   without a table each, and their results go without one. Each is carried out by itself, in its turn.

-- Acquires that follow each other, of one session and one connection, each for one name, all alike otherwise: {acquires, sid, wait 0|1, owner,
-- the client's connection or 0, rid, name, rid, name, ...} -> {deadline, result, result, ...}. A result: the token of a grant that began
-- just now, else what `acquire` says.
commands.acquires = function(command)
  local _, sid, wait, owner, generation = unpack(command, 1, 5)
  local isShort = isLatest(sid, generation) and isShortFor(sid)
  local acquires, results = acquiresKey(sid), {deadlineOf(sid)}
  for i = 6, #command, 2 do
    local rid, name = command[i], command[i + 1]
    local result = isShort and acquireShort(sid, acquires, rid, name, wait, owner)
    if not result then
      result = commands.acquire({'acquire', sid, rid, {name}, wait, owner, false, 0, 0, generation})
      settle()
    end
    results[i / 2 - 1] = result
  end
  return results
end

-- Releases that follow each other, of one session: {releases, sid, rid, rid, ...} -> {result, result, ...}. A result: for how long it was held (ms),
-- followed by its name; else what `release` says.
commands.releases = function(command)
  local sid = command[2]
  local isShort = not isLease(sid) and alive(sid)
  local acquires, results, last = acquiresKey(sid), {}, 0
  for i = 3, #command do
    local rid, heldMs, name = command[i], nil, nil
    if isShort then heldMs, name = releaseShort(sid, acquires, rid) end
    if heldMs then
      results[last + 1], results[last + 2] = heldMs, name
      last = last + 2
    else
      results[last + 1] = commands.release({'release', join(sid, rid)})
      last = last + 1
      settle()
    end
  end
  return results
end
