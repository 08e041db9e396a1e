-- One visit of one member: it reports what it spent, and takes what it needs, of any number of buckets.
--
-- A bucket here counts what nobody has *reported* yet as still being in it, but promised: `out` says to whom. What is free
-- is the level minus all that is promised, so a grant is never more than is left, however many members there are, and a
-- promise that its member cannot keep (it died) is written off as spent.
--
-- A member that cannot reach us lives on its share, 1/n of each rate, from `grace` after we heard it last. So time in
-- which a member was silent refills n-th parts less (`lost`), and leaves that much room at the brim (`span`).
-- A server that may have forgotten something (another run, no data) begins a new era with empty buckets.
--
-- KEYS[1] the house: era and members; KEYS[2..] the buckets, in the order of the operations.
-- ARGV[1] msgpack {me, n, now, late, lived, era, rejoin, trust, grace_us, dead_us, out_us, ops}
-- an op is {held, full, p, q, wallet, spent (ever), keep, need, slice, refunds {{seq, amount}…}, seed}
-- answers msgpack {status, now, era, {{granted, free (1/q), seq, known}…}}

local ask = cmsgpack.unpack(ARGV[1])
local now = ask.now
if now == 0 then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end
if ask.late > 0 and now > ask.late then
  return cmsgpack.pack({'late', now, '', {}})
end

local BANDS, DEBT_MAX, SECOND = 16, 4503599627370496, 1000000
local n, me = ask.n, ask.me

local function number(x) return string.format('%.0f', x) end

local function ceil_div(a, b) return math.ceil(a / b) end

-- the house ---------------------------------------------------------------------------------------------------------

local function open_house()
  local text = redis.call('GET', KEYS[1])
  local house = text and cmsgpack.unpack(text)
  local run = ''
  if not ask.trust then run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or '' end
  if not house then
    local first = ask.era == '' and ask.lived == 0
    local unheard = 0
    if not first then unheard = n end
    house = {run = run, born = now, fresh = first, lost = 0, touched = now, resume = now, unheard = unheard, members = {}}
  elseif house.run ~= run then
    house = {run = run, born = now, fresh = false, lost = 0, touched = now, resume = now, unheard = n, members = {}}
  elseif house.fresh and ask.era ~= '' and ask.era ~= number(house.born) then
    -- somebody new thought that nobody had ever been here; this member knows better
    house = {run = run, born = now, fresh = false, lost = 0, touched = now, resume = now, unheard = n, members = {}}
  end
  return house
end

local house = open_house()
local era = number(house.born)

local function close_house()
  redis.call('SET', KEYS[1], cmsgpack.pack(house))
end

if ask.era ~= era and ask.era ~= '' and not ask.rejoin then
  close_house()
  return cmsgpack.pack({'era', now, era, {}})
end

if now - house.touched > SECOND then house.resume = now end -- nobody was here: nobody is dead for that
house.touched = now

local mine = house.members[me]
if mine then
  local silent = now - mine[1] - ask.grace_us
  if silent > 0 then
    house.lost = house.lost + silent
    mine[2], mine[3] = now, silent
  end
  if now > mine[1] then mine[1] = now end
elseif house.unheard > 0 then
  house.unheard = house.unheard - 1
  house.lost = house.lost + (now - house.born)
  house.members[me] = {now, now, now - house.born}
elseif ask.lived > 0 then -- it lived on its share before it ever came
  house.lost = house.lost + ask.lived
  house.members[me] = {now, now, ask.lived}
else
  house.members[me] = {now, 0, 0}
end
if house.unheard > 0 and now - house.born > 60 * SECOND then
  house.lost = house.lost + house.unheard * (now - house.born)
  house.unheard = 0
end

local lost_now = house.lost + house.unheard * (now - house.born)
for name, member in pairs(house.members) do
  local silent = now - member[1] - ask.grace_us
  if silent > 600 * SECOND and now - house.resume > 600 * SECOND then
    house.lost = house.lost + silent
    lost_now = lost_now + silent
    house.members[name] = nil
  elseif silent > 0 then
    lost_now = lost_now + silent
  end
end

local function spans(since)
  local sum = house.unheard * (now - house.born)
  for _, member in pairs(house.members) do
    local silent = now - member[1] - ask.grace_us
    if silent > 0 then
      sum = sum + silent
    elseif member[2] > since then
      sum = sum + member[3]
    end
  end
  return sum
end

local function dead(name)
  local member = house.members[name]
  if not member then return true end
  return now - math.max(member[1], house.resume) > ask.dead_us
end

-- rates -------------------------------------------------------------------------------------------------------------

local function new_rate(full, q)
  if house.fresh then
    return {era = era, level = full, at = now, seq = now, lost = lost_now, q = q, tide = {{now, full}}, out = {}}
  end
  return {era = era, level = 0, at = house.born, seq = house.born, lost = 0, q = q, tide = {{house.born, full}}, out = {}}
end

local function refill(b, full, p, q)
  if b.q ~= q then
    b.level = math.min(math.floor(b.level / b.q * q), full)
    for _, mark in ipairs(b.tide) do mark[2] = math.min(math.ceil(mark[2] / b.q * q), full) end
    b.q = q
  end
  local elapsed = now - b.at
  if elapsed <= 0 then return end
  local gone = lost_now - b.lost
  if p > 0 then
    local useful = math.max(0, elapsed - ceil_div(gone, n))
    b.level = b.level + p * math.min(useful, ceil_div(math.max(full - b.level, 0), p))
    local room = math.min(full, p * math.min(ceil_div(gone + spans(b.at), n), ceil_div(full, p)))
    b.level = math.min(b.level, full - room)
  end
  b.at, b.lost = now, lost_now
end

local function debit(b, full, amount, q)
  if amount <= 0 then return end
  b.seq = math.max(b.seq + 1, now)
  local tide = b.tide
  while #tide > 0 and tide[#tide][2] <= b.level do table.remove(tide) end
  local last = tide[#tide]
  if last and last[2] - b.level < math.floor(full / BANDS) then
    last[1] = b.seq
  else
    table.insert(tide, {b.seq, b.level})
    if #tide > BANDS then
      tide[2][2] = tide[1][2]
      table.remove(tide, 1)
    end
  end
  b.level = math.max(b.level - amount * q, -DEBT_MAX)
end

local function refund(b, full, seq, amount, q)
  local room, tide, first = amount * q, b.tide, nil
  for i, mark in ipairs(tide) do
    if mark[1] > seq then first = i break end
  end
  if first then
    room = math.max(0, math.min(room, full - tide[first][2]))
    for i = first, #tide do tide[i][2] = tide[i][2] + room end
    while first > 1 and tide[first - 1][2] <= tide[first][2] do
      table.remove(tide, first - 1)
      first = first - 1
    end
  end
  b.level = b.level + math.max(0, math.min(room, full - b.level))
end

local function promised(out)
  local sum = 0
  for _, promise in pairs(out) do sum = sum + promise[1] end
  return sum
end

local function granted_of(free, need, slice)
  local share = math.min(slice, math.floor(free / (2 * n)))
  return math.max(0, math.min(free, math.max(need, share)))
end

local function visit_rate(key, op)
  local full, p, q = op[2], op[3], op[4]
  local text = redis.call('GET', key)
  local b = text and cmsgpack.unpack(text)
  if not b or b.era ~= era then b = new_rate(full, q) end
  refill(b, full, p, q)
  for name, promise in pairs(b.out) do
    if now >= promise[2] then
      debit(b, full, promise[1], q)
      b.out[name] = nil
    end
  end
  local promise, known = b.out[me], 0
  if promise and promise[3] == op[5] then
    known = 1
    debit(b, full, math.min(op[6] - promise[4], promise[1]), q)
  elseif promise then
    debit(b, full, promise[1], q) -- another life of this member left it: who knows what it spent
  end
  for _, back in ipairs(op[10]) do
    if back[2] < 0 then debit(b, full, -back[2], q) else refund(b, full, back[1], back[2], q) end
  end
  local keep = 0
  if known == 1 then keep = math.min(op[7], promise[1]) end
  b.out[me] = nil
  local free = math.floor((b.level - (promised(b.out) + keep) * q) / q)
  local granted = granted_of(free, op[8], op[9])
  if keep + granted > 0 then
    b.out[me] = {keep + granted, now + ask.out_us, op[5], op[6]}
  end
  local left = b.level - promised(b.out) * q
  local ttl = 172800000
  if p > 0 then ttl = math.min(ttl, math.ceil((full - b.level) / p / 1000) + 60000) end
  redis.call('SET', key, cmsgpack.pack(b), 'PX', number(ttl))
  return {granted, left, b.seq, known, keep}
end

-- slots and budgets -------------------------------------------------------------------------------------------------

local function visit_held(key, op)
  local capacity = op[2]
  local text = redis.call('GET', key)
  local b = text and cmsgpack.unpack(text)
  local known = 1
  if not b or b.era ~= era then
    if op[11] < 0 then return {0, 0, 0, 0, 0} end
    b = {era = era, used = op[11], out = {}}
  end
  for name, _ in pairs(b.out) do
    if name ~= me and dead(name) then b.out[name] = nil end
  end
  local promise = b.out[me]
  if promise and promise[3] == op[5] then b.used = b.used + (op[6] - promise[4]) end
  b.out[me] = nil
  local free = capacity - b.used - promised(b.out) - op[7]
  -- until everybody from before the new era has said what it holds, nothing of it is free
  if house.unheard > 0 and now - house.resume <= ask.dead_us then free = math.min(free, 0) end
  local granted = granted_of(free, op[8], op[9])
  b.out[me] = {op[7] + granted, 0, op[5], op[6]}
  redis.call('SET', key, cmsgpack.pack(b), 'PX', '172800000')
  return {granted, capacity - b.used - promised(b.out), 0, known, op[7]}
end

local answers = {}
for i, op in ipairs(ask.ops) do
  if op[1] then
    answers[i] = visit_held(KEYS[i + 1], op)
  else
    answers[i] = visit_rate(KEYS[i + 1], op)
  end
end
close_house()
return cmsgpack.pack({'ok', now, era, answers})
