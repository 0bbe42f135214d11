-- The lease ------------------------------------------------------------------------
-- Where one Region takes all writes, a server takes them while it holds the lease of the
-- epoch that the writer knows (DESIGN R5). It is in the server's memory and nowhere
-- else: a replica never has its primary's, and a server that starts anew, or is given
-- all data anew, has none.

-- mine is the replication ID of this server when the library last looked. A server
-- gets another one when it starts, and when it becomes a primary.
local mine

local function replication_id()
  return string.match(call('INFO', 'replication'), 'master_replid:(%x+)') or ''
end

-- lease has the epoch, until when it is held, by this server's clock, the newest time
-- that was seen, the replication ID that it was granted to, and whether it is over for
-- good. nil: none was ever granted.
local lease

-- fenced tells whether this server must not write in epoch. 0: the writer knows of no
-- leases, which is well where none was ever granted. A clock that steps back ends a
-- lease: who knows how much of it is left.
local function fenced(epoch, now)
  if not lease then return epoch > 0 end
  if now < lease.seen then lease.stop = 0 end
  lease.seen = now
  return epoch ~= lease.epoch or now >= lease.stop or lease.to ~= mine
end

local function refuse_fenced() return refuse('LEASE', lease and lease.epoch or 'none') end

-- clock returns what time it is, and the replication ID that a grant is for.
local function clock()
  ready()
  mine = replication_id()
  return pack('>I6', now_ms()) .. mine
end

-- grant gives this server the lease of an epoch until a time of its clock, or ends that
-- epoch, for good: a grant that was on its way may come later. Whoever has started anew
-- since it was asked for its clock, is asked again.
local function grant(keys, args)
  ready()
  local epoch, stop = unpack_at('>I6I6', args[1], 1)
  if lease and (epoch < lease.epoch or epoch == lease.epoch and lease.over) then return refuse_fenced() end
  mine = replication_id()
  if stop > 0 and sub(args[1], 13) ~= mine then return refuse('ANEW') end
  lease = {epoch = epoch, stop = stop, over = stop == 0, seen = now_ms(), to = mine}
  return ''
end

-- echo keeps a number for some seconds, for who measures how late replicas are. Written
-- after an epoch is over it would make this server differ from the next primary, which
-- would have to give it all data anew.
local function echo(keys, args)
  ready()
  if lease and lease.over then return refuse_fenced() end
  call('SET', keys[1], args[1], 'EX', args[2])
  return ''
end
