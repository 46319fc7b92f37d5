-- What: who waits for whom. Only nested acquires (their context holds locks) ever ask this.

local function setOf(list)
  local set = {}
  for _, item in ipairs(list or {}) do set[item] = true end
  return set
end

local function headOf(name)
  return call('ZRANGE', P .. 'queue:' .. name, 0, 0)[1]
end

local function ofContext(acquire, held)
  for _, lock in ipairs(acquire[CONTEXT] or {}) do
    if held[lock] then return true end
  end
  return false
end

-- Does the waiter wait for the context that holds `held`: through who holds its names, or who is first in line for them?
local function waitsFor(id, held, seen)
  if seen[id] then return false end
  seen[id] = true
  local acquire = readAcquire(id)
  if not acquire or acquire[STATE] ~= WAITING or ofContext(acquire, held) then return false end
  for _, name in ipairs(acquire[NAMES]) do
    local holder = readLock(name)[HOLDER]
    if holder ~= '' then
      if held[holder] then return true end
      for _, waiter in ipairs(call('SMEMBERS', P .. 'context:' .. holder)) do
        if waitsFor(waiter, held, seen) then return true end
      end
    end
    local head = headOf(name)
    if head and head ~= id and waitsFor(head, held, seen) then return true end
  end
  return false
end

-- May a nested acquire take these free names: is it, or waits for its context, the head of each queue?
local function passes(id, names, held)
  for _, name in ipairs(names) do
    local head = headOf(name)
    if head and head ~= id and not waitsFor(head, held, {}) then return false end
  end
  return true
end

-- The cycle of holds that waiting for these names would close: a list of {name, lock that holds it}, or false.
local function holdCycle(names, held, seen)
  for _, name in ipairs(names) do
    local holder = readLock(name)[HOLDER]
    if holder ~= '' then
      if held[holder] then return {{name, holder}} end
      for _, waiter in ipairs(call('SMEMBERS', P .. 'context:' .. holder)) do
        local acquire = not seen[waiter] and readAcquire(waiter)
        seen[waiter] = true
        local rest = acquire and holdCycle(acquire[NAMES], held, seen)
        if rest then
          table.insert(rest, 1, {name, holder})
          return rest
        end
      end
    end
  end
  return false
end
