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
-- that was seen, and the replication ID that it was granted to.
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

-- grant gives this server the lease of an epoch, until a time of its clock, if it has
-- not held that of a later one.
local function grant(keys, args)
  ready()
  local epoch, stop = unpack_at('>I6I6', args[1], 1)
  if lease and epoch < lease.epoch then return refuse_fenced() end
  mine = replication_id()
  lease = {epoch = epoch, stop = stop, seen = now_ms(), to = mine}
  return ''
end
