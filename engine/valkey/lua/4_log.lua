-- The log ------------------------------------------------------------------------
-- l{pp} is a stream, whose server counts its entries: the ID of number n is 0-n.
-- m{pp} holds the server's replication ID and the actors that wrote the log, each with
-- the last number before its first.

-- id returns the ID of an entry. Numbers made text by themselves lose digits.
local function id(n) return string.format('0-%.0f', n) end

local function number_of(id) return tonumber(sub(id, 3)) end

-- last_number returns the number of the newest entry that there ever was.
local function last_number(lkey)
  local info = redis.pcall('XINFO', 'STREAM', lkey)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then return number_of(info[i + 1]) end
  end
  return 0
end

-- grown is by how many bytes each log has grown since it was last weighed.
local grown = {}

-- keep_within keeps a log within cap, but for its newest entry, with some room left.
local function keep_within(lkey, cap)
  local takes, n = call('MEMORY', 'USAGE', lkey), call('XLEN', lkey)
  if takes > cap and n > 1 then call('XTRIM', lkey, 'MAXLEN', max(1, floor(n * cap / takes * 31 / 32))) end
end

-- log_append appends an entry. first: m is of a partition that nobody has written in.
-- A log that is gone goes on far beyond all numbers that it can have had.
local function log_append(mkey, lkey, m, first, data, cap, now)
  if first then
    call('SET', mkey, m)
    call('XADD', lkey, '0-*', 'd', data)
  elseif not call('XADD', lkey, 'NOMKSTREAM', '0-*', 'd', data) then
    call('XADD', lkey, id(now * 4096), 'd', data)
  end
  local by = (grown[lkey] or 0) + #data
  if by * 32 > cap then
    by = 0
    keep_within(lkey, cap)
  end
  grown[lkey] = by
end

-- take_over returns what m{pp} is to say, and whether nobody has written there. What
-- another server wrote before, or this one before it lost a part, ends an era:
-- candidate is the actor of the next. The oldest is forgotten with its entries if
-- there are too many: nobody could say whose those were.
local function take_over(mkey, lkey, m, candidate, cap, now)
  if not m then return mine .. candidate .. pack('>I7', 0), true end
  local eras = sub(m, 41) .. candidate .. pack('>I7', last_number(lkey))
  if #eras > 10 * MAX_ERAS then
    eras = sub(eras, 11)
    call('XTRIM', lkey, 'MINID', id(unpack_at('>I7', eras, 4) + 1))
  end
  m = mine .. eras
  call('SET', mkey, m)
  log_append(mkey, lkey, m, false, '', cap, now)
  return m, false
end

-- writer returns what m{pp} says, once this server writes in the partition, and
-- whether nobody has written there: then it is to be stored with the first entry. The
-- last ten bytes are those of the actor.
local function writer(mkey, lkey, candidate, cap, now)
  local m = call('GET', mkey)
  if m and sub(m, 1, 40) == mine then return m, false end
  mine = replication_id()
  if m and sub(m, 1, 40) == mine then return m, false end
  return take_over(mkey, lkey, m, candidate, cap, now)
end

-- of_another tells whether m is of another Region than candidate, and of which.
local function of_another(m, candidate)
  local region = floor(byte(m, -10) / 16)
  return region ~= floor(byte(candidate, 1) / 16) and region
end

-- state returns the number of the newest entry and what m{pp} holds.
local function state(keys)
  ready()
  local m = call('GET', keys[1])
  if not m then return '' end
  return pack('>I7', last_number(keys[2])) .. m
end

-- head is state, once this server has taken over what another one wrote. Nothing is
-- written where nothing ever was.
local function head(keys, args)
  ready()
  if call('EXISTS', keys[1]) == 0 then return '' end
  local candidate, cap = unpack_at('>c3xI6', args[1], 1) -- of apply's first
  writer(keys[1], keys[2], candidate, cap, now_ms())
  return state(keys)
end

-- entries returns state and the entries of the log after a position, at most count.
-- keys are m{pp} and l{pp}.
local function entries(keys, args)
  local raw = state(keys)
  if raw == '' then return {''} end
  local newest, eras = unpack_at('>I7', raw, 1), sub(raw, 48)
  local actor, n = unpack_at('>I3I7', args[1], 1)
  local from = 0
  for i = 1, #eras, 10 do
    if unpack_at('>I3', eras, i) == actor then
      if i + 10 < #eras then
        from = min(n, (unpack_at('>I7', eras, i + 13)))
      elseif n <= newest then
        from = n
      end
    end
  end
  local out = {raw}
  for _, entry in ipairs(call('XRANGE', keys[2], id(from + 1), '+', 'COUNT', args[2])) do
    out[#out + 1] = entry[1]
    out[#out + 1] = entry[2][2]
  end
  return out
end

-- trim lets go of the log up to a number, of so many entries at most.
local function trim(keys, args)
  ready()
  local oldest = call('XRANGE', keys[1], '-', '+', 'COUNT', 1)[1]
  if not oldest then return 0 end
  local last = min(tonumber(args[1]), number_of(oldest[1]) + tonumber(args[2]) - 1)
  return call('XTRIM', keys[1], 'MINID', id(last + 1))
end
