#!lua name=roam_v1

-- What package crdt does to a record, done where the record is: in one step, by
-- the server's clock. docs/formats/valkey.md has the layout of the keys; the bytes
-- of operations, records and fragments are those of package crdt. A test compares
-- what this makes of random operations with what package crdt makes of them, byte
-- for byte. Numbers have at most 53 bits, which a Lua number holds exactly.

-- What other libraries have can't be looked up while this one loads.
local floor, max, min, byte, sub, concat, unpack_at, pack, call
local function ready()
  if floor then return end
  floor, max, min = math.floor, math.max, math.min
  byte, sub, concat = string.byte, string.sub, table.concat
  unpack_at, pack, call = struct.unpack, struct.pack, redis.call
end

local VERSION = '\1'
local DEAD = VERSION .. '\1'      -- the head of a record that was destroyed
local ORIGIN = 1704067200         -- seconds: crdt.Time counts from 2024
local MAX_STAMP = 9007199254740991
local MAX_AHEAD = 60000           -- ms; crdt.maxAhead
local MAX_LIFETIME = 34560000000  -- ms; crdt.MaxLifetime
local MARGIN = 120000             -- ms; crdt.margin
local MIN_SLACK = 60000           -- ms; crdt.minSlack
local MAX_FIELDS = 1024           -- crdt.MaxFields
local MAX_RECORD = 262144         -- crdt.MaxRecordBytes
local SESSION, USER = 1, 2        -- crdt.Kind
local CELL = 72                   -- bytes of a counter's cell, of package crdt
local MAX_ERAS = 8                -- as many as engine/memory remembers
local PLAIN = '\2'                -- the first byte of what only touches and changes fields
local MAX_PLAIN = 100             -- fields

local function now_ms()
  local t = call('TIME')
  return max(0, (t[1] - ORIGIN) * 1000 + floor(t[2] / 1000))
end

-- Refusals reach the engine by their first two words.
local function refuse(kind, detail) return redis.error_reply('ROAM ' .. kind .. ' ' .. (detail or '')) end

-- before tells whether a sorts before b as bytes. The operator < goes by locale.
local function before(a, b)
  local n = min(#a, #b)
  for i = 1, n do
    local x, y = byte(a, i), byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

-- Vectors: flat lists of actor, stamp, by actor ---------------------------------

local function vv_read(s, i)
  local n
  n, i = unpack_at('>I2', s, i)
  local v = {}
  for k = 1, 2 * n, 2 do v[k], v[k + 1], i = unpack_at('>I3I7', s, i) end
  return v, i
end

local function vv_write(out, v)
  out[#out + 1] = pack('>I2', #v / 2)
  for k = 1, #v, 2 do out[#out + 1] = pack('>I3I7', v[k], v[k + 1]) end
end

local function vv_at(v, actor)
  for k = 1, #v, 2 do
    if v[k] == actor then return v[k + 1] end
  end
  return 0
end

local function vv_join(v, w)
  if #w == 0 then return v end
  if #v == 0 then return w end
  local out, i, j, n = {}, 1, 1, 0
  while i <= #v or j <= #w do
    local a, s
    if j > #w or i <= #v and v[i] < w[j] then
      a, s, i = v[i], v[i + 1], i + 2
    elseif i > #v or w[j] < v[i] then
      a, s, j = w[j], w[j + 1], j + 2
    else
      a, s, i, j = v[i], max(v[i + 1], w[j + 1]), i + 2, j + 2
    end
    out[n + 1], out[n + 2], n = a, s, n + 2
  end
  return out
end

local function vv_meet(v, w)
  local out, n = {}, 0
  for k = 1, #v, 2 do
    local s = min(v[k + 1], vv_at(w, v[k]))
    if s > 0 then out[n + 1], out[n + 2], n = v[k], s, n + 2 end
  end
  return out
end

-- Records. A field is {name, raw}: raw is stamp, actor, gone, value, so that the
-- later of two is the greater as bytes -------------------------------------------

local function read_body(s, i, flags)
  local r = {user = '', vv = {}}
  r.abs, r.touch, i = unpack_at('>I6I6', s, i)
  if flags % 4 >= 2 then
    local b = {}
    b.actor, b.stamp, b.created, b.idle, i = unpack_at('>I3I7I6I6', s, i)
    r.born = b
  end
  local n = byte(s, i)
  r.user, i = sub(s, i + 1, i + n), i + 1 + n
  if flags % 8 >= 4 then
    local a = {}
    a.gen, a.actor, a.stamp, i = unpack_at('>I4I3I7', s, i)
    a.rest = sub(s, i, i + 43) -- the hashes, grace and time, in the order they are compared in
    a.epochs, i = vv_read(s, i + 44)
    r.auth = a
  end
  r.vv, i = vv_read(s, i)
  return r, i
end

local function write_body(out, r)
  out[#out + 1] = pack('>I6I6', r.abs, r.touch)
  local b, a = r.born, r.auth
  if b then out[#out + 1] = pack('>I3I7I6I6', b.actor, b.stamp, b.created, b.idle) end
  out[#out + 1] = string.char(#r.user) .. r.user
  if a then
    out[#out + 1] = pack('>I4I3I7', a.gen, a.actor, a.stamp) .. a.rest
    vv_write(out, a.epochs)
  end
  vv_write(out, r.vv)
end

local function flags_of(r)
  if r.dead then return '\1' end
  return string.char((r.born and 2 or 0) + (r.auth and 4 or 0))
end

-- read_record reads a record of crdt.AppendRecord that begins at i.
local function read_record(s, i)
  local kind, flags = byte(s, i + 1, i + 2)
  local name = sub(s, i + 3, i + 18)
  if flags % 2 == 1 then return {dead = true, vv = {}, fields = {}, user = ''}, kind, name end
  local r
  r, i = read_body(s, i + 19, flags)
  r.fields = {}
  local n
  n, i = unpack_at('>I4', s, i)
  for k = 1, n do
    local len = byte(s, i)
    local field = sub(s, i + 1, i + len)
    i = i + 1 + len
    local size = unpack_at('>I4', s, i + 11)
    local raw = sub(s, i + 4, i + 10) .. sub(s, i + 1, i + 3) .. sub(s, i, i) .. sub(s, i + 15, i + 14 + size)
    r.fields[k] = {field, raw}
    i = i + 15 + size
  end
  return r, kind, name
end

-- write_fragment returns the bytes of crdt.AppendFragment.
local function write_fragment(actor, stamp, prev, kind, name, e)
  local out = {VERSION, pack('>I3I7I7', actor, stamp, prev), VERSION, string.char(kind), flags_of(e), name}
  if e.dead then return concat(out) end
  write_body(out, e)
  out[#out + 1] = pack('>I4', #e.fields)
  for _, f in ipairs(e.fields) do
    local field, raw = f[1], f[2]
    out[#out + 1] = string.char(#field) .. field .. sub(raw, 11, 11) .. sub(raw, 8, 10) .. sub(raw, 1, 7)
    out[#out + 1] = pack('>I4', #raw - 11) .. sub(raw, 12)
  end
  return concat(out)
end

local function stamp_of(raw) return (unpack_at('>I7', raw, 1)) end

-- join_born, join_auth and join are crdt.Join, fields left out.

local function join_born(a, b)
  if not a then return b end
  if not b then return a end
  for _, k in ipairs({'stamp', 'actor', 'created', 'idle'}) do
    if a[k] ~= b[k] then return a[k] < b[k] and a or b end
  end
  return a
end

local function auth_before(a, b)
  for _, k in ipairs({'gen', 'stamp', 'actor'}) do
    if a[k] ~= b[k] then return a[k] < b[k] end
  end
  return before(a.rest, b.rest)
end

local function join_auth(a, b)
  if not a then return b end
  if not b then return a end
  local win = auth_before(a, b) and b or a
  if a.gen ~= b.gen then return win end
  return {
    gen = win.gen, stamp = win.stamp, actor = win.actor, rest = win.rest,
    epochs = vv_meet(a.epochs, b.epochs),
  }
end

local function least_set(a, b)
  if a == 0 or b == 0 then return max(a, b) end
  return min(a, b)
end

local function bottom()
  return {abs = 0, touch = 0, user = '', vv = {}, n = 0, size = 0, latest = 0, soonest = 0, last = 0, expires = 0}
end

-- join returns the head of what a and b make; the sums and the base are those of a.
local function join(a, b)
  if a.dead or b.dead or a.user ~= '' and b.user ~= '' and a.user ~= b.user then
    return {dead = true, user = '', vv = {}}
  end
  return {
    born = join_born(a.born, b.born), abs = least_set(a.abs, b.abs), touch = max(a.touch, b.touch),
    user = a.user ~= '' and a.user or b.user, auth = join_auth(a.auth, b.auth), vv = vv_join(a.vv, b.vv),
    n = a.n, size = a.size, latest = a.latest, soonest = a.soonest, last = a.last, expires = a.expires,
    base = a.base, fields = a.fields,
  }
end

-- latest is crdt.Record.Latest.
local function latest(r)
  local s = max(r.latest, r.born and r.born.stamp or 0, r.auth and r.auth.stamp or 0)
  for k = 2, #r.vv, 2 do s = max(s, r.vv[k]) end
  return s
end

local function deadline(name) return unpack_at('>I4', name, 1) * 1000 end

-- keep_of is when a field of a user's record means nothing more.
local function keep_of(field, raw)
  if byte(field, 1) == 64 and #field == 17 then -- '@'
    local seconds, partition, birth = unpack_at('>I4I2B', field, 2)
    if partition < 64 and birth >= 1 and birth <= 15 then return seconds * 1000 + MARGIN end
  end
  return floor(stamp_of(raw) / 4096) + MAX_LIFETIME + MARGIN
end

-- keep_until is crdt.Record.KeepUntil.
local function keep_until(r, kind, name)
  if kind == USER then return r.last end
  local last = deadline(name) + MARGIN
  local idle = not r.dead and r.born and r.born.idle or 0
  if idle > 0 then return min(r.touch + idle + max(floor(idle / 4), MIN_SLACK), last) end
  return last
end
