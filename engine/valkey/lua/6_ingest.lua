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

-- merge_plain is merge of a fragment that only touches and adds fields, into a session
-- that has all before it; false if it is another one.
local function merge_plain(key, data, now)
  -- version 1, dot 10, prev 7, version 1, kind 1, flags 1, name 16, abs 6, touch 6, user 1, vector
  if sub(data, 20, 21) ~= '\1\0' or sub(data, 50, 52) ~= '\0\0\1' or sub(data, 38, 43) ~= '\0\0\0\0\0\0' then
    return false
  end
  local dot, count, i = sub(data, 2, 11), unpack_at('>I4', data, 63)
  if count > 100 or sub(data, 53, 62) ~= dot then return false end
  local fields, names = {}, {key, 'h'}
  for k = 1, count do
    local len = byte(data, i)
    local name, size = sub(data, i + 1, i + len), unpack_at('>I4', data, i + len + 12)
    i = i + 1 + len
    fields[k] = {name, sub(data, i + 4, i + 10) .. sub(data, i + 1, i + 3) .. sub(data, i, i) .. sub(data, i + 15, i + 14 + size)}
    names[k + 2] = name
    i = i + 15 + size
  end
  local stored = redis.call('HMGET', unpack(names))
  local a = open_head(stored[1])
  if not a then return false end
  local have, at = heard(a, sub(dot, 1, 3))
  local stamp, prev = unpack_at('>I7I7', data, 5)
  if have >= stamp or have ~= prev then return false end
  local set = {key, 'h', ''}
  gather(a, fields, stored, set)
  a.touch = max(a.touch, (unpack_at('>I6', data, 44)))
  amend(key, a, dot, at, deadline(sub(key, 6)), set, now)
  return true
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
      local key = keys[i]
      local kind, name = byte(data, 20), sub(data, 22, 37)
      if over_age(kind, name, now) or not hole and merge_plain(key, data, now) then
        -- passed over, or done
      elseif hole then
        local e = read_record(data, 19)
        local stop = ending(kind, e)
        if stop then join_stored(key, kind, name, load(key), stop, now) end
      else
        local actor, stamp, prev = unpack_at('>I3I7I7', data, 2)
        if merge(key, actor, stamp, prev, read_record(data, 19), kind, name, now) and not gap[key] then
          gap[key] = true
          gaps[#gaps + 1] = pack('>I2', i - 2)
        end
      end
    end
  end
  if hole then return sub(held, 1, 10) .. '\1' end
  if #gaps == 0 and last > at.n then at.n = last end
  local moved = pack('>I3I7I7', at.actor, at.n, at.fork)
  if moved ~= was then redis.call('SET', cursor, moved) end
  return sub(moved, 1, 10) .. '\0' .. concat(gaps)
end

-- look returns what f{pp} says and what the record's key holds.
local function look(keys)
  ready()
  local out = redis.call('HGETALL', keys[1])
  table.insert(out, 1, redis.call('GET', keys[2]) or '')
  return out
end

redis.register_function{function_name = 'roam_v1_apply', callback = apply, flags = {'allow-oom'}}
redis.register_function{function_name = 'roam_v1_join', callback = join_record, flags = {'allow-oom'}}
redis.register_function{function_name = 'roam_v1_ingest', callback = ingest, flags = {'allow-oom'}}
redis.register_function{function_name = 'roam_v1_head', callback = head, flags = {'allow-oom'}}
redis.register_function{function_name = 'roam_v1_trim', callback = trim, flags = {'allow-oom'}}
redis.register_function{function_name = 'roam_v1_look', callback = look, flags = {'no-writes'}}
redis.register_function{function_name = 'roam_v1_entries', callback = entries, flags = {'no-writes'}}
