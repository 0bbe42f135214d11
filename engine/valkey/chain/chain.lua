#!lua name=roam_chain_v2

-- What a node writes beside the sessions, so that others see it come by replication:
-- that an epoch is over, and that its server goes on. The one is an epoch, the other
-- 'epoch number time', the time in ms by the server's clock.
--
-- Version 1 took no least number and told none. It wrote the same under the same keys, so
-- that both may be used at a time while nodes are upgraded.

local function epoch_of(text) return tonumber(string.match(text or '', '^(%d+)')) or 0 end

-- over tells that an epoch is over, and those before it: nothing of them comes after
-- this. What it says never goes back.
local function over(keys, args)
  if tonumber(args[1]) > epoch_of(redis.call('GET', keys[1]) or '') then
    redis.call('SET', keys[1], args[1])
  end
  return ''
end

-- beat counts on, from a least number, and tells the beat's: the shards of a cluster are to
-- have the same. What is written after an epoch is over would make its server differ from
-- those that have all of it.
local function beat(keys, args)
  local last, done = redis.call('GET', keys[1]) or '', epoch_of(redis.call('GET', keys[2]) or '')
  local epoch = tonumber(args[1])
  if epoch <= done or epoch < epoch_of(last) then
    return redis.error_reply('ROAM OVER ' .. args[1])
  end
  local n = math.max((tonumber(string.match(last, '^%d+ (%d+) ')) or 0) + 1, tonumber(args[2]))
  local t = redis.call('TIME')
  local ms = t[1] * 1000 + math.floor(t[2] / 1000)
  redis.call('SET', keys[1], string.format('%s %.0f %.0f', args[1], n, ms))
  return string.format('%.0f', n)
end

redis.register_function('roam_chain_v2_over', over)
redis.register_function('roam_chain_v2_beat', beat)
