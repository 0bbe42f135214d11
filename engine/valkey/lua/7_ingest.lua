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

-- A plain fragment is one that only touches and adds fields: PLAIN, its dot, the stamp
-- before it, a touch, and each field as its name and what is stored, both with a length.

-- merge_plain is merge of a plain fragment into a session that has all before it; false
-- if it is another one.
local function merge_plain(key, data, now)
  local raws, names, i, size = {}, {key, 'h'}, 25, #data
  local k = 0
  while i <= size do
    local len = byte(data, i)
    local raw = unpack_at('>I4', data, i + len + 1)
    k, i = k + 1, i + len + 5
    names[k + 2] = sub(data, i - len - 4, i - 5)
    raws[k], i = sub(data, i, i + raw - 1), i + raw
  end
  local stored = call('HMGET', unpack(names))
  local a = open_head(stored[1], key)
  if not a then return false end
  local stamp, prev, touch = unpack_at('>I7I7I6', data, 5)
  local have, at = heard(a, sub(data, 2, 4))
  if have >= stamp or have ~= prev then return false end
  local set = {key, 'h', ''}
  gather(a, names, raws, stored, set)
  a.touch = max(a.touch, touch)
  amend(key, a, sub(data, 2, 11), at, deadline(sub(key, 6)), set, now)
  return true
end

-- read_fragment returns a fragment's actor, stamp, the stamp before it, and its effect.
local function read_fragment(data)
  local actor, stamp, prev, i = unpack_at('>I3I7I7', data, 2)
  if sub(data, 1, 1) ~= PLAIN then return actor, stamp, prev, (read_record(data, 19)) end
  local e = bottom()
  e.vv, e.fields = {actor, stamp}, {}
  e.touch, i = unpack_at('>I6', data, i)
  while i <= #data do
    local len = byte(data, i)
    local raw = unpack_at('>I4', data, i + len + 1)
    e.fields[#e.fields + 1] = {sub(data, i + 1, i + len), sub(data, i + len + 5, i + len + 4 + raw)}
    i = i + len + 5 + raw
  end
  return actor, stamp, prev, e
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
  local was = call('GET', cursor)
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
      local plain = byte(data, 1) == 2
      local kind, name = plain and SESSION or byte(data, 20), sub(key, 6)
      if over_age(kind, name, now) or plain and (hole or merge_plain(key, data, now)) then
        -- passed over, or done
      elseif hole then
        local e = read_record(data, 19)
        local stop = ending(kind, e)
        if stop then join_stored(key, kind, name, load(key), stop, now) end
      else
        local actor, stamp, prev, e = read_fragment(data)
        if merge(key, actor, stamp, prev, e, kind, name, now) and not gap[key] then
          gap[key] = true
          gaps[#gaps + 1] = pack('>I2', i - 2)
        end
      end
    end
  end
  if hole then return sub(held, 1, 10) .. '\1' end
  if #gaps == 0 and last > at.n then at.n = last end
  local moved = pack('>I3I7I7', at.actor, at.n, at.fork)
  if moved ~= was then call('SET', cursor, moved) end
  return sub(moved, 1, 10) .. '\0' .. concat(gaps)
end

-- look returns what f{pp} says and what the record's key holds.
local function look(keys)
  ready()
  local out = call('HGETALL', keys[1])
  table.insert(out, 1, call('GET', keys[2]) or '')
  return out
end

redis.register_function{function_name = 'roam_v1_apply', callback = apply, flags = {'allow-oom'}}
redis.register_function{function_name = 'roam_v1_clock', callback = clock, flags = {'no-writes'}}
redis.register_function{function_name = 'roam_v1_grant', callback = grant, flags = {'allow-oom'}}
redis.register_function{function_name = 'roam_v1_echo', callback = echo, flags = {'allow-oom'}}
redis.register_function{function_name = 'roam_v1_join', callback = join_record, flags = {'allow-oom'}}
redis.register_function{function_name = 'roam_v1_ingest', callback = ingest, flags = {'allow-oom'}}
redis.register_function{function_name = 'roam_v1_head', callback = head, flags = {'allow-oom'}}
redis.register_function{function_name = 'roam_v1_state', callback = state, flags = {'no-writes'}}
redis.register_function{function_name = 'roam_v1_trim', callback = trim, flags = {'allow-oom'}}
redis.register_function{function_name = 'roam_v1_look', callback = look, flags = {'no-writes'}}
redis.register_function{function_name = 'roam_v1_entries', callback = entries, flags = {'no-writes'}}
