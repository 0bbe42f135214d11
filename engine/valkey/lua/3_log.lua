-- The log ------------------------------------------------------------------------
-- m{pp} holds the server's replication ID, the number and the bytes of the log, and
-- the actors that wrote it with the last number before each.

-- mine is the replication ID of this server when the library last looked. A server
-- gets another one when it starts, and when it becomes a primary.
local mine

local function replication_id()
  return string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or ''
end

local function parse_meta(m)
  if not m then return nil end
  local n, bytes = unpack_at('>I7I7', m, 41)
  return {replid = sub(m, 1, 40), n = n, bytes = bytes, eras = sub(m, 55)}
end

local function read_meta(key) return parse_meta(redis.call('GET', key)) end

local function write_meta(key, m)
  redis.call('SET', key, m.replid .. pack('>I7I7', m.n, m.bytes) .. m.eras)
end

-- log_append appends an entry and keeps the log within cap, but for its newest.
local function log_append(key, m, data, cap)
  m.n, m.bytes = m.n + 1, m.bytes + #data + ENTRY
  redis.call('XADD', key, m.n .. '-0', 'd', data)
  while m.bytes > cap do
    local oldest = redis.call('XRANGE', key, '-', '+', 'COUNT', 16)
    local first = nil
    for _, entry in ipairs(oldest) do
      local n = tonumber(string.match(entry[1], '^%d+'))
      if m.bytes <= cap or n == m.n then break end
      m.bytes, first = m.bytes - #entry[2][2] - ENTRY, n + 1
    end
    if not first then return end
    redis.call('XTRIM', key, 'MINID', first .. '-0')
  end
end

-- forget_era forgets the oldest actor and its entries: nobody could say whose those
-- were. How many bytes went is taken from how many entries did.
local function forget_era(key, m)
  m.eras = sub(m.eras, 11)
  local all = redis.call('XLEN', key)
  local gone = redis.call('XTRIM', key, 'MINID', unpack_at('>I7', m.eras, 4) + 1 .. '-0')
  if all > 0 then m.bytes = floor(m.bytes * (all - gone) / all) end
end

-- writer returns what m{pp} says once this server writes in the partition. What
-- another one wrote before, or this one before it lost a part, ends an era: candidate
-- is the actor of the next.
local function writer(mkey, lkey, candidate, cap)
  local m = read_meta(mkey) or {replid = '', n = 0, bytes = 0, eras = ''}
  if m.replid ~= mine then mine = replication_id() end
  if m.replid ~= mine then
    m.replid = mine
    m.eras = (m.n > 0 and m.eras or '') .. candidate .. pack('>I7', m.n)
    if #m.eras > 10 * MAX_ERAS then forget_era(lkey, m) end
    if m.n > 0 then
      log_append(lkey, m, '', cap)
      write_meta(mkey, m)
    end
  end
  m.actor = unpack_at('>I3', m.eras, #m.eras - 9)
  m.wrong = floor(m.actor / 1048576) ~= floor(byte(candidate, 1) / 16)
  return m
end

-- entries returns what m{pp} holds and the entries of the log after a position, at
-- most count. keys are m{pp} and l{pp}.
local function entries(keys, args)
  ready()
  local raw = redis.call('GET', keys[1])
  if not raw then return {''} end
  local m = parse_meta(raw)
  local actor, n = unpack_at('>I3I7', args[1], 1)
  local from = 0
  for i = 1, #m.eras, 10 do
    if unpack_at('>I3', m.eras, i) == actor then
      if i + 10 < #m.eras then
        from = min(n, (unpack_at('>I7', m.eras, i + 13)))
      elseif n <= m.n then
        from = n
      end
    end
  end
  local out = {raw}
  for _, entry in ipairs(redis.call('XRANGE', keys[2], from + 1 .. '-0', '+', 'COUNT', args[2])) do
    out[#out + 1] = entry[1]
    out[#out + 1] = entry[2][2]
  end
  return out
end

-- head returns what m{pp} holds, once this server has taken over what another one
-- wrote. Nothing is written where nothing ever was.
local function head(keys, args)
  ready()
  if redis.call('EXISTS', keys[1]) == 0 then return '' end
  writer(keys[1], keys[2], args[1], tonumber(args[2]))
  return redis.call('GET', keys[1])
end

-- trim lets go of the log up to a number.
local function trim(keys, args)
  ready()
  local m, upto = read_meta(keys[1]), tonumber(args[1])
  if not m then return 0 end
  local gone = 0
  local oldest = redis.call('XRANGE', keys[2], '-', upto .. '-0', 'COUNT', args[2])
  for _, entry in ipairs(oldest) do
    m.bytes, gone = m.bytes - #entry[2][2] - ENTRY, gone + 1
  end
  if gone == 0 then return 0 end
  local last = tonumber(string.match(oldest[gone][1], '^%d+'))
  redis.call('XTRIM', keys[2], 'MINID', last + 1 .. '-0')
  write_meta(keys[1], m)
  return gone
end
