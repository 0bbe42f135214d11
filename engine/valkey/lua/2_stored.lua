-- Stored records: a hash with the head in h and a field for each field -----------

-- Most fields of a session are of one write: such a field is stored as SHORT and its
-- value, and the dot stands in the head once, as the base. That is the dot of birth,
-- unless another one came to be the birth since then.

local SHORT = '\255' -- no stamp begins with it

local function short(raw, base)
  if base and byte(raw, 11) == 0 and sub(raw, 1, 10) == base then return SHORT .. sub(raw, 12) end
  return raw
end

local function full(raw, base)
  if raw and byte(raw, 1) == 255 then return base .. '\0' .. sub(raw, 2) end
  return raw
end

-- Flags of a head, beside those of a record.
local OWN_END = 8    -- its deadline is not that of its key
local PREVIOUS = 16  -- there is a secret before the present one
local LOGGED_IN = 32 -- the auth register is of another write than birth
local BASED = 64     -- the base is not the dot of birth
local SUMS = 21      -- where the touch begins in a session's head

local function has(flags, bit) return flags % (2 * bit) >= bit end

-- whole is the deadline of a record that nothing has moved.
local function whole(key) return byte(key, 1) == 115 and unpack_at('>I4', key, 6) * 1000 or 0 end

local function read_auth(h, i, flags, born)
  local a = {}
  a.gen, i = unpack_at('>I4', h, i)
  if has(flags, LOGGED_IN) then
    a.actor, a.stamp, i = unpack_at('>I3I7', h, i)
  else
    a.actor, a.stamp = born.actor, born.stamp
  end
  local previous = string.rep('\0', 22)
  local current = sub(h, i, i + 15)
  i = i + 16
  if has(flags, PREVIOUS) then previous, i = sub(h, i, i + 21), i + 22 end
  a.rest = current .. previous .. sub(h, i, i + 5)
  a.epochs, i = vv_read(h, i + 6)
  return a, i
end

local function read_head(h, key)
  local r, flags, i = {user = '', soonest = 0, last = 0}, byte(h, 2)
  r.n, r.size, r.latest, r.expires, i = unpack_at('>I2I3I7I6', h, 3)
  if byte(key, 1) ~= 115 then r.soonest, r.last, i = unpack_at('>I6I6', h, i) end
  r.touch, i = unpack_at('>I6', h, i)
  if has(flags, OWN_END) then r.abs, i = unpack_at('>I6', h, i) else r.abs = whole(key) end
  if has(flags, 2) then
    local b = {}
    b.actor, b.stamp, b.created, b.idle, i = unpack_at('>I3I7I6I6', h, i)
    r.born, r.base = b, pack('>I7I3', b.stamp, b.actor)
  end
  local n = byte(h, i)
  r.user, i = sub(h, i + 1, i + n), i + 1 + n
  if has(flags, 4) then r.auth, i = read_auth(h, i, flags, r.born) end
  if has(flags, BASED) then r.base, i = sub(h, i, i + 9), i + 10 end
  r.vv, i = vv_read(h, i)
  if i ~= #h + 1 then error('its end is not where the vector says') end
  return r
end

-- head_of returns the head of r, once its base is what it is to stay.
local function head_of(r, key)
  local b, a, flags = r.born, r.auth, byte(flags_of(r))
  local user = byte(key, 1) ~= 115
  local out = {
    VERSION, '', pack('>I2I3I7I6', min(r.n, 65535), min(r.size, 16777215), r.latest, r.expires),
    user and pack('>I6I6', r.soonest, r.last) or '', pack('>I6', r.touch),
  }
  if r.abs ~= whole(key) then flags, out[6] = flags + OWN_END, pack('>I6', r.abs) end
  local dot
  if b then
    dot = pack('>I7I3', b.stamp, b.actor)
    out[#out + 1] = pack('>I3I7I6I6', b.actor, b.stamp, b.created, b.idle)
  end
  out[#out + 1] = string.char(#r.user) .. r.user
  if a then
    out[#out + 1] = pack('>I4', a.gen)
    if not b or a.actor ~= b.actor or a.stamp ~= b.stamp then
      flags, out[#out + 1] = flags + LOGGED_IN, pack('>I3I7', a.actor, a.stamp)
    end
    local previous = sub(a.rest, 17, 38)
    out[#out + 1] = sub(a.rest, 1, 16)
    if previous ~= string.rep('\0', 22) then flags, out[#out + 1] = flags + PREVIOUS, previous end
    out[#out + 1] = sub(a.rest, 39)
    vv_write(out, a.epochs)
  end
  if r.base and r.base ~= dot then flags, out[#out + 1] = flags + BASED, r.base end
  vv_write(out, r.vv)
  out[2] = string.char(flags)
  return concat(out)
end

local function load(key)
  local h = call('HGET', key, 'h')
  if not h then return nil end
  if h == DEAD then return {dead = true, user = '', vv = {}} end
  local ok, r = pcall(read_head, h, key)
  if not ok or sub(h, 1, 1) ~= VERSION then error(refuse('CORRUPT', 'head of ' .. #h .. ' bytes')) end
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
      local part = call('HMGET', key, unpack(names, at, min(at + 999, #names)))
      for i, raw in ipairs(part) do have[at + i - 1] = full(raw, stored.base) end
    end
  end
  for i, f in ipairs(fields) do
    local name, raw = f[1], f[2]
    local old = overlay[name] or have[i]
    if not old then
      r.n, r.size = r.n + 1, r.size + #name + #raw - 11
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
  local all, gone = call('HGETALL', key), {}
  r.n, r.size, r.latest, r.soonest, r.last = 0, 0, 0, 0, 0
  for i = 1, #all, 2 do
    local name, raw = all[i], all[i + 1]
    if name ~= 'h' then
      local keep = keep_of(name, raw)
      if keep <= now then
        gone[#gone + 1] = name
      else
        r.n, r.size, r.latest = r.n + 1, r.size + #name + #raw - 11, max(r.latest, stamp_of(raw))
        r.last = max(r.last, keep)
        r.soonest = r.soonest == 0 and keep or min(r.soonest, keep)
      end
    end
  end
  for at = 1, #gone, 1000 do call('HDEL', key, unpack(gone, at, min(at + 999, #gone))) end
end

-- put_fields writes the fields that are set.
local function put_fields(key, sets, base)
  local args, n = {}, 0
  for _, f in ipairs(sets) do
    args[n + 1], args[n + 2], n = f[1], short(f[2], base), n + 2
  end
  for at = 1, n, 2000 do call('HSET', key, unpack(args, at, min(at + 1999, n))) end
end

-- store writes r and the fields that are set. A copy that looks past its time is
-- kept a while all the same: the log of a long cut then merges one entry onto the
-- other, where each would else be a gap.
local function store(key, kind, name, r, sets, now)
  if r.dead then
    call('DEL', key)
    call('HSET', key, 'h', DEAD)
    call('PEXPIREAT', key, ORIGIN * 1000 + max(keep_until(r, kind, name), now + MIN_SLACK) - 1)
    return
  end
  if r.born and not r.base then r.base = pack('>I7I3', r.born.stamp, r.born.actor) end
  local prunes = kind == USER and r.soonest > 0 and r.soonest <= now
  local few = #sets <= 100 and not prunes -- one call writes them with the head
  if not few then put_fields(key, sets, r.base) end
  if prunes then prune(key, r, now) end
  local expires = max(keep_until(r, kind, name), now + MIN_SLACK) - 1
  local moved = expires ~= r.expires
  r.expires = expires
  local args = {'h', head_of(r, key)}
  for _, f in ipairs(few and sets or {}) do
    args[#args + 1], args[#args + 2] = f[1], short(f[2], r.base)
  end
  call('HSET', key, unpack(args))
  if moved then call('PEXPIREAT', key, ORIGIN * 1000 + expires) end
end

-- join_stored joins e, with its fields, into what is stored in key.
local function join_stored(key, kind, name, stored, e, now)
  local r = join(stored or bottom(), e)
  local sets = {}
  if not r.dead then plan(key, kind, stored, r, e.fields, sets, {}) end
  store(key, kind, name, r, sets, now)
end

-- Amending -------------------------------------------------------------------------
-- Nearly all writes only add fields to a session that is live, or touch it. Its head is
-- then changed in place, as bytes: taking it apart costs three times as much.

-- take_apart returns what amending needs to know of a session's head.
local function take_apart(h, key)
  local flags, i, idle = byte(h, 2), SUMS + 6, 0
  local n, size, latest, expires, touch = unpack_at('>I2I3I7I6I6', h, 3)
  local born, more, top, s, abs, base = has(flags, 2), flags >= OWN_END, latest, 0
  if more and has(flags, OWN_END) then abs, i = unpack_at('>I6', h, i) else abs = whole(key) end
  if born then
    s, idle = unpack_at('>I7xxxxxxI6', h, i + 3)
    base, top, i = i, max(top, s), i + 22
  end
  i = i + 1 + byte(h, i)
  if has(flags, 4) then
    i = i + 4
    if more and has(flags, LOGGED_IN) then top, i = max(top, (unpack_at('>I7', h, i + 3))), i + 10 end
    i = i + (more and has(flags, PREVIOUS) and 44 or 22)
    i = i + 2 + 10 * unpack_at('>I2', h, i)
  end
  if flags >= BASED then base, i = i, i + 10 end
  if (#h - i - 1) % 10 ~= 0 then error('its end is not where a vector has one') end
  return { -- all at once: a table that grows costs as much again
    h = h, n = n, size = size, latest = latest, expires = expires, touch = touch, abs = abs,
    idle = idle, born = born, top = top, base = base, based = flags >= BASED, vector = i,
  }
end

-- base_of returns the base of what is taken apart.
local function base_of(a)
  if a.based then return sub(a.h, a.base, a.base + 9) end
  return sub(a.h, a.base + 3, a.base + 9) .. sub(a.h, a.base, a.base + 2)
end

-- open_head is take_apart of a head that may be amended; nil if there is none.
local function open_head(h, key)
  if not h or h == DEAD then return nil end
  local ok, a = pcall(take_apart, h, key)
  if not ok or sub(h, 1, 1) ~= VERSION then error(refuse('CORRUPT', 'head of ' .. #h .. ' bytes')) end
  return a
end

-- heard returns how far a's vector has heard an actor of 3 bytes, where that stands,
-- and the highest stamp in the vector.
local function heard(a, actor)
  local h, at, have, top = a.h, nil, 0, 0
  for p = a.vector + 2, #h, 10 do
    local s = unpack_at('>I7', h, p + 3)
    if s > top then top = s end
    if sub(h, p, p + 2) == actor then at, have = p, s end
  end
  return have, at, top
end

-- idles_out is keep_until of a session that is not dead.
local function idles_out(a, stop)
  if a.idle == 0 then return stop + MARGIN end
  return min(a.touch + a.idle + max(floor(a.idle / 4), MIN_SLACK), stop + MARGIN)
end

-- gather puts the later of raws and what is stored of them into args, for HSET. names
-- and stored have them from their third and second on.
local function gather(a, names, raws, stored, args)
  for k, raw in ipairs(raws) do
    local name, old = names[k + 2], stored[k + 1]
    if old and byte(old, 1) == 255 then old = full(old, base_of(a)) end
    if not old then
      a.n, a.size = a.n + 1, a.size + #name + #raw - 11
    elseif old ~= raw and before(old, raw) then
      a.size = a.size + #raw - #old
    else
      raw = nil
    end
    if raw then
      args[#args + 1], args[#args + 2] = name, raw
      a.latest = max(a.latest, (unpack_at('>I7', raw, 1)))
    end
  end
end

-- amend stores a with a dot of 10 bytes heard; at is where its actor stands in the
-- vector.
local function amend(key, a, dot, at, stop, args, now)
  local h, expires = a.h, max(idles_out(a, stop), now + MIN_SLACK) - 1
  local sums = pack('>I2I3I7I6I6', min(a.n, 65535), min(a.size, 16777215), a.latest, expires, a.touch)
  if at then
    args[3] = sub(h, 1, 2) .. sums .. sub(h, SUMS + 6, at - 1) .. dot .. sub(h, at + 10)
  else
    local out = {sub(h, 1, 2), sums, sub(h, SUMS + 6, a.vector - 1)}
    local actor, stamp = unpack_at('>I3I7', dot, 1)
    vv_write(out, vv_join((vv_read(h, a.vector)), {actor, stamp}))
    args[3] = concat(out)
  end
  call('HSET', unpack(args))
  if expires ~= a.expires then call('PEXPIREAT', key, ORIGIN * 1000 + expires) end
end
