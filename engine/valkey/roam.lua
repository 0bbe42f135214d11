#!lua name=roam_v1

-- What package crdt does to a record, done where the record is: in one step, by
-- the server's clock. docs/formats/valkey.md has the layout of the keys; the bytes
-- of operations, records and fragments are those of package crdt. A test compares
-- what this makes of random operations with what package crdt makes of them, byte
-- for byte. Numbers have at most 53 bits, which a Lua number holds exactly.

-- What other libraries have can't be looked up while this one loads.
local floor, max, min, byte, sub, concat, unpack_at, pack
local function ready()
  if floor then return end
  floor, max, min = math.floor, math.max, math.min
  byte, sub, concat = string.byte, string.sub, table.concat
  unpack_at, pack = struct.unpack, struct.pack
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
local ENTRY = 96                  -- bytes that a log entry takes beside its fragment

local function now_ms()
  local t = redis.call('TIME')
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

local function bottom() return {abs = 0, touch = 0, user = '', vv = {}, size = 0, latest = 0, soonest = 0, last = 0} end

-- join returns the head of what a and b make; the sums are those of a.
local function join(a, b)
  if a.dead or b.dead or a.user ~= '' and b.user ~= '' and a.user ~= b.user then
    return {dead = true, user = '', vv = {}}
  end
  return {
    born = join_born(a.born, b.born), abs = least_set(a.abs, b.abs), touch = max(a.touch, b.touch),
    user = a.user ~= '' and a.user or b.user, auth = join_auth(a.auth, b.auth), vv = vv_join(a.vv, b.vv),
    size = a.size, latest = a.latest, soonest = a.soonest, last = a.last, fields = a.fields,
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

-- Stored records: a hash with the head in h and a field for each field -----------

local function load(key)
  local h = redis.call('HGET', key, 'h')
  if not h then return nil end
  if h == DEAD then return {dead = true, user = '', vv = {}} end
  local ok, r = pcall(read_body, h, 26, byte(h, 2) or 0)
  if not ok or sub(h, 1, 1) ~= VERSION then error(refuse('CORRUPT', 'head of ' .. #h .. ' bytes')) end
  r.size, r.latest, r.soonest, r.last = unpack_at('>I4I7I6I6', h, 3)
  return r
end

-- plan adds to sets what of fields is new in key, and to the sums of r what that
-- makes of them. overlay has what was planned before, by name.
local function plan(key, kind, stored, r, fields, sets, overlay)
  if #fields == 0 then return end
  local have = {}
  if stored then
    local names = {}
    for i, f in ipairs(fields) do names[i] = f[1] end
    for at = 1, #names, 1000 do
      local part = redis.call('HMGET', key, unpack(names, at, min(at + 999, #names)))
      for i, raw in ipairs(part) do have[at + i - 1] = raw end
    end
  end
  for i, f in ipairs(fields) do
    local name, raw = f[1], f[2]
    local old = overlay[name] or have[i]
    if not old then
      r.n, r.size = (r.n or 0) + 1, r.size + #name + #raw - 11
    elseif old ~= raw and before(old, raw) then
      r.size = r.size + #raw - #old
    else
      raw = nil
    end
    if raw then
      overlay[name] = raw
      sets[#sets + 1] = f
      r.latest = max(r.latest, stamp_of(raw))
      if kind == USER then
        local keep = keep_of(name, raw)
        r.last = max(r.last, keep)
        r.soonest = r.soonest == 0 and keep or min(r.soonest, keep)
      end
    end
  end
end

-- prune is crdt.Record.Prune, of a user's record that is stored.
local function prune(key, r, now)
  local all, gone = redis.call('HGETALL', key), {}
  r.size, r.latest, r.soonest, r.last = 0, 0, 0, 0
  for i = 1, #all, 2 do
    local name, raw = all[i], all[i + 1]
    if name ~= 'h' then
      local keep = keep_of(name, raw)
      if keep <= now then
        gone[#gone + 1] = name
      else
        r.size, r.latest = r.size + #name + #raw - 11, max(r.latest, stamp_of(raw))
        r.last = max(r.last, keep)
        r.soonest = r.soonest == 0 and keep or min(r.soonest, keep)
      end
    end
  end
  for at = 1, #gone, 1000 do redis.call('HDEL', key, unpack(gone, at, min(at + 999, #gone))) end
end

local function head_of(r)
  local out = {VERSION, flags_of(r), pack('>I4I7I6I6', min(r.size, 4294967295), r.latest, r.soonest, r.last)}
  write_body(out, r)
  return concat(out)
end

-- store writes r and the fields that are set. A copy that looks past its time is
-- kept a while all the same: the log of a long cut then merges one entry onto the
-- other, where each would else be a gap.
local function store(key, kind, name, r, sets, now)
  local keep
  if r.dead then
    redis.call('DEL', key)
    redis.call('HSET', key, 'h', DEAD)
    keep = keep_until(r, kind, name)
  else
    local args, n = {}, 0
    for _, f in ipairs(sets) do
      args[n + 1], args[n + 2], n = f[1], f[2], n + 2
    end
    for at = 1, n, 2000 do redis.call('HSET', key, unpack(args, at, min(at + 1999, n))) end
    if kind == USER and r.soonest > 0 and r.soonest <= now then prune(key, r, now) end
    keep = keep_until(r, kind, name)
    redis.call('HSET', key, 'h', head_of(r))
  end
  redis.call('PEXPIREAT', key, ORIGIN * 1000 + max(keep, now + MIN_SLACK) - 1)
end

-- join_stored joins e, with its fields, into what is stored in key.
local function join_stored(key, kind, name, stored, e, now)
  local r = join(stored or bottom(), e)
  local sets = {}
  if not r.dead then plan(key, kind, stored, r, e.fields, sets, {}) end
  store(key, kind, name, r, sets, now)
end

-- The log ------------------------------------------------------------------------
-- m{pp} holds the server's replication ID, the number and the bytes of the log, and
-- the actors that wrote it with the last number before each.

-- mine is the replication ID of this server when the library last looked. A server
-- gets another one when it starts, and when it becomes a primary.
local mine

local function replication_id()
  return string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or ''
end

local function read_meta(key)
  local m = redis.call('GET', key)
  if not m then return nil end
  local n, bytes = unpack_at('>I7I7', m, 41)
  return {replid = sub(m, 1, 40), n = n, bytes = bytes, eras = sub(m, 55)}
end

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

-- Operations ---------------------------------------------------------------------

local function read_op(s)
  local op = {flags = byte(s, 2), id = sub(s, 3, 10), changes = {}}
  local i
  op.stamp, i = unpack_at('>I7', s, 11)
  local f = op.flags
  op.touch, op.destroy, op.revoke = f % 2 == 1, f % 4 >= 2, f % 8 >= 4
  if f % 16 >= 8 then op.idle, i = unpack_at('>I6', s, i) end
  if f % 32 >= 16 then
    local n = byte(s, i)
    op.user, i = sub(s, i + 1, i + n), i + 1 + n
    local a = {}
    a.gen, i = unpack_at('>I4', s, i)
    a.rest = sub(s, i, i + 43)
    a.epochs, i = vv_read(s, i + 44)
    op.auth = a
  end
  local n
  n, i = unpack_at('>I4', s, i)
  for k = 1, n do
    local kind, len = byte(s, i, i + 1)
    local c = {kind = kind, name = sub(s, i + 2, i + 1 + len), value = ''}
    i = i + 2 + len
    if kind == 2 then
      c.value, i, op.adds = sub(s, i, i + 7), i + 8, true
    elseif kind == 0 then
      local size = unpack_at('>I4', s, i)
      c.value, i = sub(s, i + 4, i + 3 + size), i + 4 + size
    end
    op.changes[k] = c
  end
  if f % 64 >= 32 then op.adopt = read_record(s, i) end
  op.writes = not op.destroy and (op.auth ~= nil or n > 0)
  return op
end

-- expired is crdt.Record.expired.
local function expired(r, now)
  if r.abs ~= 0 and now >= r.abs then return true end
  local idle = r.born and r.born.idle or 0
  return idle > 0 and now >= min(r.touch, now) + idle
end

-- add64 adds two numbers of 8 bytes.
local function add64(a, b)
  local ah, al = unpack_at('>I4I4', a, 1)
  local bh, bl = unpack_at('>I4I4', b, 1)
  local low = al + bl
  local carry = low >= 4294967296 and 1 or 0
  return pack('>I4I4', (ah + bh + carry) % 4294967296, low % 4294967296)
end

-- taken returns the cell of a counter that has the operation id already.
local function taken(all, prefix, id)
  local found
  for name, raw in pairs(all) do
    if sub(name, 1, #prefix) == prefix and #raw == 11 + CELL and byte(raw, 11) == 0 and
      (not found or before(name, found)) then
      for at = 20, 68, 16 do
        if sub(raw, at, at + 7) == id then found = name end
      end
    end
  end
  return found
end

-- addition returns the field that adding comes to: crdt.Change.addTo.
local function addition(all, c, id, dot)
  local name = taken(all, c.name, id)
  if name then return {name, all[name]} end
  name = c.name .. pack('>I3', dot.actor)
  local old = all[name] and sub(all[name], 12) or ''
  if #old ~= CELL then old = string.rep('\0', CELL) end
  return {name, pack('>I7I3B', dot.stamp, dot.actor, 0) ..
    add64(sub(old, 1, 8), c.value) .. id .. c.value .. sub(old, 9, 56)}
end

-- changed returns the fields that an operation writes, sorted.
local function changed(key, stored, op, dot)
  local all = {}
  if op.adds then
    if stored then
      local flat = redis.call('HGETALL', key)
      for i = 1, #flat, 2 do
        if flat[i] ~= 'h' then all[flat[i]] = flat[i + 1] end
      end
    end
    for _, f in ipairs(op.adopt and op.adopt.fields or {}) do
      local old = all[f[1]]
      if not old or before(old, f[2]) then all[f[1]] = f[2] end
    end
  end
  local out = {}
  for _, c in ipairs(op.changes) do
    if c.kind == 2 then
      out[#out + 1] = addition(all, c, op.id, dot)
    else
      out[#out + 1] = {c.name, pack('>I7I3B', op.stamp, dot.actor, c.kind) .. c.value}
    end
  end
  if op.revoke then out[#out + 1] = {'!' .. pack('>I3', dot.actor), pack('>I7I3B', dot.stamp, dot.actor, 0)} end
  return out
end

local function by_name(a, b) return before(a[1], b[1]) end

-- with_fields returns fields and more, sorted; of two of one name the later.
local function with_fields(fields, more)
  local at, out = {}, {}
  for _, list in ipairs({fields, more}) do
    for _, f in ipairs(list) do
      local i = at[f[1]]
      if not i then
        out[#out + 1] = f
        at[f[1]] = #out
      elseif before(out[i][2], f[2]) then
        out[i] = f
      end
    end
  end
  if #out > 1 then table.sort(out, by_name) end
  return out
end

-- admit is crdt.Op.admit; nil if base lets op pass.
local function admit(op, kind, base, now)
  if kind ~= SESSION then return nil end
  local born = base.born ~= nil
  if op.adopt and not op.auth and not op.touch and #op.changes == 0 then
    return nil
  elseif op.idle and born and not (base.auth and sub(base.auth.rest, 1, 16) == sub(op.auth.rest, 1, 16)) then
    return 'EXISTS'
  elseif not op.idle and not born then
    return 'ABSENT'
  elseif born and expired(base, now) then
    return 'EXPIRED'
  elseif op.user and op.user ~= '' and base.user ~= '' and op.user ~= base.user then
    return 'USER'
  end
end

-- full tells whether memory is kept free of what op does: DESIGN R13. level is 1
-- from 80 % of the server's memory on, 2 from 90 %, 3 where it is used up.
local function full(level, op, base, out, sets, grows)
  if level == 0 or out.dead or op.destroy or op.revoke then return false end
  if not op.idle and not op.auth and not op.adopt and #op.changes == 0 then return false end
  for _, f in ipairs(sets) do
    if byte(f[1], 1) == 33 then return false end -- '!': it brings a revocation
  end
  local sealed = op.adopt and op.adopt.born and #op.adopt.vv == 0
  if (op.idle or sealed) and not base.born and level >= (out.user == '' and 1 or 2) then return true end
  return level >= 3 and grows
end

-- effect returns what op adds to base, or nil and the reason why it does not: an
-- empty one if nothing is to do. It is crdt.Op.effect.
local function effect(key, kind, name, stored, base, op, dot, now)
  if op.destroy or base.dead then return {dead = true, user = '', vv = {}, fields = {}} end
  local no = admit(op, kind, base, now)
  if no then return nil, no end
  local e = bottom()
  e.vv, e.fields = {dot.actor, dot.stamp}, {}
  if op.adopt then
    e = join(op.adopt, e)
  end
  if op.idle and not base.born then
    e = join(e, {
      born = {actor = dot.actor, stamp = op.stamp, created = now, idle = op.idle},
      abs = deadline(name), touch = now, user = '', vv = {},
    })
  end
  if op.auth then
    local a = op.auth
    e = join(e, {
      auth = {gen = a.gen, actor = dot.actor, stamp = op.stamp, rest = a.rest, epochs = a.epochs},
      abs = 0, touch = 0, user = op.user, vv = {},
    })
  end
  local idle = base.born and base.born.idle or 0
  local touches = op.touch and idle > 0 and 10 * (now - base.touch) > idle
  if e.dead then return e end
  if touches then e.touch = max(e.touch, now) end
  e.fields = with_fields(e.fields or {}, changed(key, stored, op, dot))
  if not op.adopt and not op.idle and not op.auth and not touches and #e.fields == 0 then return nil, '' end
  return e
end

local function apply(keys, args)
  ready()
  local key, mkey, lkey = keys[1], keys[2], keys[3]
  local candidate, level, cap = args[1], tonumber(args[3]), tonumber(args[4])
  local kind, name = byte(key, 1) == 115 and SESSION or USER, sub(key, 6) -- 's'
  local op, now = read_op(args[2]), now_ms()

  if op.writes and op.stamp > (now + MAX_AHEAD) * 4096 then return refuse('AHEAD', 'by ' .. floor(op.stamp / 4096) - now .. ' ms') end
  local stop = kind == SESSION and deadline(name)
  if op.idle and stop and stop > now + MAX_LIFETIME then return refuse('LIMIT', 'a lifetime of ' .. stop - now .. ' ms') end

  local stored, past = load(key), false
  if stored and keep_until(stored, kind, name) <= now then stored, past = nil, true end
  if stored and stored.dead then
    if op.destroy or op.adopt and op.adopt.dead then return '' end
    return refuse('DEAD')
  end
  if stop and op.destroy and now >= stop + MARGIN then return '' end
  if stop and not op.destroy and now >= stop then return refuse('EXPIRED') end

  local m = writer(mkey, lkey, candidate, cap)
  if m.wrong then return refuse('REGION', floor(m.actor / 1048576)) end
  local r = stored or bottom()
  local base = op.adopt and join(r, op.adopt) or r
  local seen = latest(base.dead and bottom() or base)
  for _, f in ipairs(op.adopt and op.adopt.fields or {}) do
    if not base.dead then seen = max(seen, stamp_of(f[2])) end
  end
  local stamp = max(now * 4096, min(seen + 1, MAX_STAMP))
  if op.writes then stamp = max(stamp, op.stamp) end
  local dot = {actor = m.actor, stamp = min(stamp, MAX_STAMP)}

  local e, no = effect(key, kind, name, stored, base, op, dot, now)
  if not e then
    if no == '' then return '' end
    return refuse(no)
  end
  local prev = vv_at(r.vv, dot.actor)
  if prev >= dot.stamp then
    if not e.dead then return refuse('AHEAD', 'no stamp is left') end
    prev = 0
  end

  local out, sets, grows = join(r, e), {}, false
  if not out.dead then
    local overlay, n = {}, stored and redis.call('HLEN', key) - 1 or 0
    out.n = n
    if op.adopt then plan(key, kind, stored, out, op.adopt.fields, sets, overlay) end
    local fields, size = out.n, out.size
    plan(key, kind, stored, out, e.fields, sets, overlay)
    if not op.revoke and #op.changes > 0 then
      if out.n > max(MAX_FIELDS, fields) then return refuse('LIMIT', out.n .. ' fields') end
      if out.size > max(MAX_RECORD, size) then return refuse('LIMIT', out.size .. ' bytes') end
    end
    grows = out.size > r.size or out.n > n or not stored
  end
  if full(level, op, r, out, sets, grows) then return refuse('FULL') end

  if past then redis.call('DEL', key) end
  store(key, kind, name, out, sets, now)
  log_append(lkey, m, write_fragment(dot.actor, dot.stamp, prev, kind, name, e), cap)
  write_meta(mkey, m)
  return pack('>I3I7', dot.actor, dot.stamp)
end

local function join_record(keys, args)
  ready()
  local now = now_ms()
  local e, kind, name = read_record(args[1], 1)
  local stored = load(keys[1])
  if not stored then
    local r = join(bottom(), e)
    if not r.dead then plan(keys[1], kind, nil, r, e.fields, {}, {}) end
    if keep_until(r, kind, name) <= now then return '' end
  end
  join_stored(keys[1], kind, name, stored, e, now)
  return ''
end

-- Logs of other Regions ------------------------------------------------------------

-- ending is crdt.Fragment.Ending; nil if there is none.
local function ending(kind, e)
  if e.dead then return e end
  if kind ~= USER then return nil end
  local out = bottom()
  out.fields = {}
  for _, f in ipairs(e.fields) do
    if byte(f[1], 1) == 33 and byte(f[2], 11) == 0 then out.fields[#out.fields + 1] = f end
  end
  return #out.fields > 0 and out or nil
end

-- merge is crdt.Merge of a fragment into key. It tells whether there is a gap.
local function merge(key, actor, stamp, prev, e, kind, name, now)
  local stored = load(key)
  if stored and stored.dead then return false end
  if e.dead then
    join_stored(key, kind, name, stored, e, now)
    return false
  end
  local have = stored and vv_at(stored.vv, actor) or 0
  if have >= stamp then return false end
  if have == prev then
    join_stored(key, kind, name, stored, e, now)
    return false
  end
  local stop = ending(kind, e)
  if stop then join_stored(key, kind, name, stored, stop, now) end
  return true
end

-- over_age tells whether nothing about a key is worth keeping.
local function over_age(kind, name, now)
  return kind == SESSION and deadline(name) + MARGIN <= now
end

-- ingest merges a batch and moves the cursor, as engine.Sink has it. keys are the
-- cursor's and one for each entry; an entry without bytes has the cursor's. It
-- returns the position, whether there is a hole, and the entries that have gaps.
local function ingest(keys, args)
  ready()
  local cursor, now = keys[1], now_ms()
  local actor, fork, first, rebase = unpack_at('>I3I7I7B', args[1], 1)
  local at = {actor = 0, n = 0, fork = 0}
  local was = redis.call('GET', cursor)
  if was then at.actor, at.n, at.fork = unpack_at('>I3I7I7', was, 1) end
  local held = was or pack('>I3I7I7', 0, 0, 0)

  if rebase == 1 and at.actor == actor and at.n >= first then
    -- It came twice. What was acknowledged stays so.
  elseif rebase == 1 then
    at = {actor = actor, n = first - 1, fork = 0}
  elseif at.actor ~= actor and at.fork <= fork and fork <= at.n then
    at = {actor = actor, n = fork, fork = fork} -- a successor took over
  end
  local hole = at.actor ~= actor or first > at.n + 1
  local last = first + #args - 2 -- the first argument is no entry
  local gaps, gap = {}, {}
  for i = 2, #args do
    local data, n = args[i], first + i - 2
    if data ~= '' and (hole or n > at.n) then
      local a, stamp, prev = unpack_at('>I3I7I7', data, 2)
      local e, kind, name = read_record(data, 19)
      local key = keys[i]
      if over_age(kind, name, now) then
        -- passed over
      elseif hole then
        local stop = ending(kind, e)
        if stop then join_stored(key, kind, name, load(key), stop, now) end
      elseif merge(key, a, stamp, prev, e, kind, name, now) and not gap[key] then
        gap[key] = true
        gaps[#gaps + 1] = pack('>I2', i - 2)
      end
    end
  end
  if hole then return sub(held, 1, 10) .. '\1' end
  if #gaps == 0 and last > at.n then at.n = last end
  local moved = pack('>I3I7I7', at.actor, at.n, at.fork)
  if moved ~= was then redis.call('SET', cursor, moved) end
  return sub(moved, 1, 10) .. '\0' .. concat(gaps)
end

-- entries returns what m{pp} holds and the entries of the log after a position, at
-- most count. keys are m{pp} and l{pp}.
local function entries(keys, args)
  ready()
  local raw = redis.call('GET', keys[1])
  if not raw then return {''} end
  local m = read_meta(keys[1])
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

redis.register_function{function_name = 'roam_v1_apply', callback = apply, flags = {'allow-oom'}}
redis.register_function{function_name = 'roam_v1_join', callback = join_record, flags = {'allow-oom'}}
redis.register_function{function_name = 'roam_v1_ingest', callback = ingest, flags = {'allow-oom'}}
redis.register_function{function_name = 'roam_v1_head', callback = head, flags = {'allow-oom'}}
redis.register_function{function_name = 'roam_v1_trim', callback = trim, flags = {'allow-oom'}}
redis.register_function{function_name = 'roam_v1_entries', callback = entries, flags = {'no-writes'}}
