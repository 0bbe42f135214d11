-- Applying -----------------------------------------------------------------------

-- apply_plain is apply for an operation that only touches and changes fields of its
-- own; nil if the session has to be taken apart for it.
local function apply_plain(keys, args, op, name, stop, now)
  local key, fields, names = keys[1], {}, {keys[1], 'h'}
  if #op.changes > 1 then table.sort(op.changes, function(x, y) return before(x.name, y.name) end) end
  for k, c in ipairs(op.changes) do names[k + 2] = c.name end
  local stored = redis.call('HMGET', unpack(names))
  local a = open_head(stored[1])
  if not a or not a.born or idles_out(a, stop) <= now then return nil end
  if now >= stop then return refuse('EXPIRED') end

  local m = writer(keys[2], keys[3], args[1], tonumber(args[4]))
  if m.wrong then return refuse('REGION', floor(m.actor / 1048576)) end
  local actor = sub(m.eras, -10, -8)
  local prev, at, top = heard(a, actor)
  local stamp = max(now * 4096, min(max(a.top, top) + 1, MAX_STAMP))
  if op.writes then stamp = max(stamp, op.stamp) end
  stamp = min(stamp, MAX_STAMP)
  if a.abs ~= 0 and now >= a.abs or a.idle > 0 and now >= min(a.touch, now) + a.idle then return refuse('EXPIRED') end
  local touches = op.touch and a.idle > 0 and 10 * (now - a.touch) > a.idle
  if not touches and #op.changes == 0 then return '' end
  if prev >= stamp then return refuse('AHEAD', 'no stamp is left') end

  local dot, write = actor .. pack('>I7', stamp), pack('>I7', op.stamp) .. actor
  local entry = {
    VERSION, dot, pack('>I7', prev), VERSION, '\1\0', name, '\0\0\0\0\0\0', pack('>I6', touches and now or 0),
    '\0\0\1', dot, pack('>I4', #op.changes),
  }
  for k, c in ipairs(op.changes) do
    local gone = c.kind == 1 and '\1' or '\0'
    fields[k] = {c.name, write .. gone .. c.value}
    local e = #entry
    entry[e + 1], entry[e + 2], entry[e + 3] = string.char(#c.name), c.name, gone
    entry[e + 4], entry[e + 5] = actor, sub(write, 1, 7)
    entry[e + 6], entry[e + 7] = pack('>I4', #c.value), c.value
  end
  local n, size, set = a.n, a.size, {key, 'h', ''}
  gather(a, fields, stored, set)
  if #fields > 0 then
    if a.n > max(MAX_FIELDS, n) then return refuse('LIMIT', a.n .. ' fields') end
    if a.size > max(MAX_RECORD, size) then return refuse('LIMIT', a.size .. ' bytes') end
    if tonumber(args[3]) >= 3 and (a.n > n or a.size > size) then return refuse('FULL') end
  end
  if touches then a.touch = max(a.touch, now) end
  amend(key, a, dot, at, stop, set, now)
  log_append(keys[3], m, concat(entry), tonumber(args[4]))
  write_meta(keys[2], m)
  return dot
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

  if stop and op.flags <= 1 and not op.adds and #op.changes <= 100 then
    local done = apply_plain(keys, args, op, name, stop, now)
    if done then return done end
  end
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
    local overlay, n = {}, out.n
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
