-- Applying -----------------------------------------------------------------------

-- apply_plain is apply for an operation that only touches and changes fields of its
-- own, and that the log takes as it came; nil if the session has to be taken apart.
local function apply_plain(keys, op, candidate, level, cap, epoch, now)
  local key = keys[1]
  local wrote, n, i = unpack_at('>I7I4', op, 11)
  if n > MAX_PLAIN then return nil end
  local names, tails = {key, 'h'}, {}
  for k = 1, n do
    local kind, len = byte(op, i, i + 1)
    if kind == 2 then return nil end
    names[k + 2], i = sub(op, i + 2, i + 1 + len), i + 2 + len
    if kind == 1 then
      tails[k] = '\1'
    else
      local size = unpack_at('>I4', op, i)
      tails[k], i = '\0' .. sub(op, i + 4, i + 3 + size), i + 4 + size
    end
  end
  if n > 0 and wrote > (now + MAX_AHEAD) * 4096 then return nil end
  local stored = call('HMGET', unpack(names))
  local a, name = open_head(stored[1], key), sub(key, 6)
  local stop = deadline(name)
  if not a or not a.born or idles_out(a, stop) <= now or now >= stop then return nil end

  local m, first = writer(keys[2], keys[3], candidate, cap, now)
  if of_another(m, candidate) or fenced(epoch, now) then return nil end
  local actor = sub(m, -10, -8)
  local prev, at, top = heard(a, actor)
  local stamp = max(now * 4096, min(max(a.top, top) + 1, MAX_STAMP))
  if n > 0 then stamp = max(stamp, wrote) end
  stamp = min(stamp, MAX_STAMP)
  if a.abs ~= 0 and now >= a.abs or a.idle > 0 and now >= min(a.touch, now) + a.idle then return refuse('EXPIRED') end
  local touches = byte(op, 2) == 1 and a.idle > 0 and 10 * (now - a.touch) > a.idle
  if not touches and n == 0 then return '' end
  if prev >= stamp then return refuse('AHEAD', 'no stamp is left') end

  local dot, by = actor .. pack('>I7', stamp), sub(op, 11, 17) .. actor
  local fields, size, set = a.n, a.size, {key, 'h', ''}
  for k = 1, n do tails[k] = by .. tails[k] end
  gather(a, names, tails, stored, set)
  if n > 0 then
    if a.n > max(MAX_FIELDS, fields) then return refuse('LIMIT', a.n .. ' fields') end
    if a.size > max(MAX_RECORD, size) then return refuse('LIMIT', a.size .. ' bytes') end
    if (a.n > fields or a.size > size) and level >= 3 then return refuse('FULL') end
  end
  if touches then a.touch = max(a.touch, now) end
  amend(key, a, dot, at, stop, set, now)
  local entry = PLAIN .. dot .. pack('>I7I6', prev, touches and now or 0) .. name .. op
  log_append(keys[2], keys[3], m, first, entry, cap, now)
  return dot
end

-- apply's arguments are what its caller is – the candidate, how full the server is,
-- the log's bound, the epoch – and the operation.
local function apply(keys, args)
  ready()
  local key, mkey, lkey, now = keys[1], keys[2], keys[3], now_ms()
  local kind = byte(key, 1) == 115 and SESSION or USER -- 's'
  local candidate, level, cap, epoch = unpack_at('>c3BI6I6', args[1], 1)
  if fenced(epoch, now) then return refuse_fenced() end
  if kind == SESSION and byte(args[2], 2) <= 1 then
    local done = apply_plain(keys, args[2], candidate, level, cap, epoch, now)
    if done then return done end
  end
  local op, name = read_op(args[2]), sub(key, 6)

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

  local m, first = writer(mkey, lkey, candidate, cap, now)
  local other, actor = of_another(m, candidate), unpack_at('>I3', m, #m - 9)
  if other then return refuse('REGION', other) end
  if fenced(epoch, now) then return refuse_fenced() end
  local r = stored or bottom()
  local base = op.adopt and join(r, op.adopt) or r
  local seen = latest(base.dead and bottom() or base)
  for _, f in ipairs(op.adopt and op.adopt.fields or {}) do
    if not base.dead then seen = max(seen, stamp_of(f[2])) end
  end
  local stamp = max(now * 4096, min(seen + 1, MAX_STAMP))
  if op.writes then stamp = max(stamp, op.stamp) end
  local dot = {actor = actor, stamp = min(stamp, MAX_STAMP)}

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

  if past then call('DEL', key) end
  store(key, kind, name, out, sets, now)
  log_append(mkey, lkey, m, first, write_fragment(dot.actor, dot.stamp, prev, kind, name, e), cap, now)
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
