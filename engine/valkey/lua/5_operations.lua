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
      local flat = call('HGETALL', key)
      for i = 1, #flat, 2 do
        if flat[i] ~= 'h' then all[flat[i]] = full(flat[i + 1], stored.base) end
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
