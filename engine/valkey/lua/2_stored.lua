-- Stored records: a hash with the head in h and a field for each field -----------

local function load(key)
  local h = call('HGET', key, 'h')
  if not h then return nil end
  if h == DEAD then return {dead = true, user = '', vv = {}} end
  local ok, r = pcall(read_body, h, SUMS + 1, byte(h, 2) or 0)
  if not ok or sub(h, 1, 1) ~= VERSION then error(refuse('CORRUPT', 'head of ' .. #h .. ' bytes')) end
  r.n, r.size, r.latest, r.soonest, r.last, r.expires = unpack_at('>I4I4I7I6I6I6', h, 3)
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
      for i, raw in ipairs(part) do have[at + i - 1] = raw end
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

local function head_of(r)
  local sums = pack('>I4I4I7I6I6I6', r.n, min(r.size, 4294967295), r.latest, r.soonest, r.last, r.expires)
  local out = {VERSION, flags_of(r), sums}
  write_body(out, r)
  return concat(out)
end

-- put_fields writes the fields that are set.
local function put_fields(key, sets)
  local args, n = {}, 0
  for _, f in ipairs(sets) do
    args[n + 1], args[n + 2], n = f[1], f[2], n + 2
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
  local prunes = kind == USER and r.soonest > 0 and r.soonest <= now
  local few = #sets <= 100 and not prunes -- one call writes them with the head
  if not few then put_fields(key, sets) end
  if prunes then prune(key, r, now) end
  local expires = max(keep_until(r, kind, name), now + MIN_SLACK) - 1
  local moved = expires ~= r.expires
  r.expires = expires
  local args = {'h', head_of(r)}
  for _, f in ipairs(few and sets or {}) do
    args[#args + 1], args[#args + 2] = f[1], f[2]
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

-- take_apart returns what amending needs to know of a head.
local function take_apart(h)
  local flags, i, idle = byte(h, 2), SUMS + 13, 0
  local n, size, latest, soonest, last, expires, abs, touch = unpack_at('>I4I4I7I6I6I6I6I6', h, 3)
  local born, top, s = flags % 4 >= 2, latest, 0
  if born then
    s, idle = unpack_at('>I7xxxxxxI6', h, i + 3)
    top, i = max(top, s), i + 22
  end
  i = i + 1 + byte(h, i)
  if flags % 8 >= 4 then
    top = max(top, (unpack_at('>I7', h, i + 7)))
    i = i + 60 + 10 * unpack_at('>I2', h, i + 58)
  end
  return { -- all at once: a table that grows costs as much again
    h = h, n = n, size = size, latest = latest, soonest = soonest, last = last, expires = expires,
    abs = abs, touch = touch, idle = idle, born = born, top = top, vector = i,
  }
end

-- open_head is take_apart of a head that may be amended; nil if there is none.
local function open_head(h)
  if not h or h == DEAD then return nil end
  local ok, a = pcall(take_apart, h)
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
  local sums = pack('>I4I4I7I6I6I6I6I6', a.n, a.size, a.latest, a.soonest, a.last, expires, a.abs, a.touch)
  if at then
    args[3] = sub(h, 1, 2) .. sums .. sub(h, SUMS + 13, at - 1) .. dot .. sub(h, at + 10)
  else
    local out = {sub(h, 1, 2), sums, sub(h, SUMS + 13, a.vector - 1)}
    local actor, stamp = unpack_at('>I3I7', dot, 1)
    vv_write(out, vv_join((vv_read(h, a.vector)), {actor, stamp}))
    args[3] = concat(out)
  end
  call('HSET', unpack(args))
  if expires ~= a.expires then call('PEXPIREAT', key, ORIGIN * 1000 + expires) end
end
