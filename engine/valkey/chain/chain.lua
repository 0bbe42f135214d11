#!lua name=roam_chain_v1

-- What a node writes beside the sessions, so that others see it come by replication:
-- that an epoch is over, and that its server goes on. roam:over is an epoch,
-- roam:beat is 'epoch number time', the time in ms by the server's clock.

local function epoch_of(text) return tonumber(string.match(text or '', '^(%d+)')) or 0 end

-- over tells that an epoch is over, and those before it: nothing of them comes after
-- this. What it says never goes back.
local function over(keys, args)
  if tonumber(args[1]) > epoch_of(redis.call('GET', keys[1]) or '') then
    redis.call('SET', keys[1], args[1])
  end
  return ''
end

-- beat counts on. What is written after an epoch is over would make its server differ
-- from those that have all of it.
local function beat(keys, args)
  local last, done = redis.call('GET', keys[1]) or '', epoch_of(redis.call('GET', keys[2]) or '')
  local epoch = tonumber(args[1])
  if epoch <= done or epoch < epoch_of(last) then
    return redis.error_reply('ROAM OVER ' .. args[1])
  end
  local n = tonumber(string.match(last, '^%d+ (%d+) ')) or 0
  local t = redis.call('TIME')
  local ms = t[1] * 1000 + math.floor(t[2] / 1000)
  redis.call('SET', keys[1], string.format('%s %.0f %.0f', args[1], n + 1, ms))
  return ''
end

redis.register_function('roam_chain_v1_over', over)
redis.register_function('roam_chain_v1_beat', beat)
