package valkey

import (
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/roam-sessions/roam/crdt"
)

// nearBound is how old what is shown from the near-cache can be, whatever happens to
// the connection that tells of changes (DESIGN R10).
const nearBound = time.Second

// near keeps records near, and knows which of them may have changed. Each entry is
// as new as the round it was read in; a change, or the fear of one, begins another
// round for the keys that share its slot of rounds. So nothing that was on its way
// while its key changed is ever shown, in whatever order the two come in.
//
// A replica may lag behind what this process has shown, written or heard of. So it is
// read from only if it is known to have all that the primary had when that was last so
// of a key of the slot. What it lacks then the primary has not told of yet, and will:
// nobody has to hear of changes from the replica.
type near struct {
	cache   *otter.Cache[crdt.Key, *nearEntry]
	seed    maphash.Seed
	rounds  [nearRounds]atomic.Uint32
	last    [nearRounds]atomic.Int64 // ns since begun, when a key of the slot was shown, written or heard of
	flushes atomic.Uint32            // rounds of all keys
	flushed atomic.Int64             // ns since begun, when the last one of them began
	begun   time.Time                // of the process's clock, which does not step
	until   atomic.Int64             // ns since begun; from then on nothing is shown

	hits, misses atomic.Uint64
}

// nearRounds is how many slots there are for rounds. Two keys that share one make
// each other be read again now and then.
const nearRounds = 1 << 16

type nearEntry struct {
	record crdt.Record
	round  nearRound
	mark   bool // it is not shown; what is kept in its round must have all of it
}

// A nearRound is when a record was read, as far as changes go.
type nearRound struct {
	slot, flushes uint32
	of            uint16
}

func newNear(maxBytes int64) (*near, error) {
	cache, err := otter.New(&otter.Options[crdt.Key, *nearEntry]{
		MaximumWeight: uint64(maxBytes), //nolint:gosec // checked to be positive
		Weigher:       func(_ crdt.Key, e *nearEntry) uint32 { return nearWeight(e.record) },
	})
	if err != nil {
		return nil, err
	}
	return &near{cache: cache, seed: maphash.MakeSeed(), begun: time.Now()}, nil
}

// nearWeight returns about how many bytes a record takes here.
func nearWeight(r crdt.Record) uint32 {
	const record, field, dot = 400, 80, 16
	n := record + dot*len(r.VV) + len(r.User)
	for _, f := range r.Fields {
		n += field + len(f.Name) + len(f.Value)
	}
	return uint32(n) //nolint:gosec // a record has a bound far below
}

// round returns the round that a read of k that begins now belongs to.
func (n *near) round(k crdt.Key) nearRound {
	of := uint16(maphash.Bytes(n.seed, k.Name())) //nolint:gosec // any 16 bits of it
	return nearRound{slot: n.rounds[of].Load(), flushes: n.flushes.Load(), of: of}
}

// lookup returns what is kept of k, if it is as new as it must be, and the round of a
// read that is to be kept otherwise.
func (n *near) lookup(k crdt.Key, seen crdt.Token) (crdt.Record, nearRound, bool) {
	now := n.round(k)
	if int64(time.Since(n.begun)) < n.until.Load() {
		if e, ok := n.cache.GetIfPresent(k); ok && !e.mark && e.round == now && seen.FreshIn(e.record.VV) {
			n.hits.Add(1)
			return e.record, now, true
		}
	}
	n.misses.Add(1)
	return crdt.Record{}, now, false
}

// since returns since when a replica must have all that the primary has, to be read
// from for a read of a round. It is asked after the round.
func (n *near) since(in nearRound) time.Time {
	return n.begun.Add(time.Duration(max(n.last[in.of].Load(), n.flushed.Load())))
}

// note notes that a key of a slot was shown, or has changed, by now.
func (n *near) note(of uint16) {
	for now := int64(time.Since(n.begun)); ; {
		if was := n.last[of].Load(); was >= now || n.last[of].CompareAndSwap(was, now) {
			return
		}
	}
}

// keep keeps what a read that began in a round has brought and somebody is about to be
// shown, but for bottom. From then on nobody is shown less: word of what was changed before may still
// be on its way, and reads that began earlier too. So what is of an earlier round stays
// as a mark that is not shown, and what has less than there is, is not kept; nor is what
// a replica had as of a time before the slot's last. As is zero for the primary.
func (n *near) keep(k crdt.Key, r crdt.Record, in nearRound, as time.Time) {
	trusted := int64(time.Since(n.begun)) < n.until.Load()
	if as.IsZero() || !trusted || r.IsBottom() {
		n.note(in.of) // before what a replica has can be kept behind it
	}
	if !trusted || r.IsBottom() {
		return
	}
	n.cache.Compute(k, func(old *nearEntry, found bool) (*nearEntry, otter.ComputeOp) {
		now := n.round(k)
		if !as.IsZero() {
			late := !as.After(n.since(in))
			if n.note(in.of); late {
				return nil, otter.CancelOp
			}
		}
		if found && old.round == now && (old.mark && !hasAll(r, old.record) || !old.mark && hasAll(old.record, r)) {
			return nil, otter.CancelOp
		}
		return &nearEntry{record: r, round: now, mark: in != now}, otter.WriteOp
	})
}

// hasAll reports whether a copy of a record has all that another has.
func hasAll(a, b crdt.Record) bool { return a.Dead || !b.Dead && a.VV.Covers(b.VV) }

// changed begins another round for the key of a name.
func (n *near) changed(name []byte) {
	of := uint16(maphash.Bytes(n.seed, name)) //nolint:gosec // as in round
	n.note(of)                                // before: who sees the round sees the time
	n.rounds[of].Add(1)
}

// flush begins another round for all keys, and lets go of what is kept.
func (n *near) flush() {
	n.flushed.Store(int64(time.Since(n.begun)))
	n.flushes.Add(1)
	n.cache.InvalidateAll()
}

// trust has what is kept be shown until nearBound after heard, when everything was
// heard that had changed by then.
func (n *near) trust(heard time.Time) { n.until.Store(int64(heard.Add(nearBound).Sub(n.begun))) }

// A NearCache is how a near-cache does.
type NearCache struct {
	Hits, Misses uint64
	Bytes        uint64 // about what is kept takes
	Trusted      bool   // changes are heard of, so that what is kept is shown
}

// NearCache returns how the near-cache does; the zero NearCache if there is none.
func (e *Engine) NearCache() NearCache {
	n := e.near
	if n == nil {
		return NearCache{}
	}
	return NearCache{
		Hits: n.hits.Load(), Misses: n.misses.Load(), Bytes: n.cache.WeightedSize(),
		Trusted: int64(time.Since(n.begun)) < n.until.Load(),
	}
}

// touched begins another round for k, which this engine has changed or may have: it
// must see its own writes, and the server's word of them may come later.
func (e *Engine) touched(k crdt.Key) {
	if e.near != nil {
		e.near.changed(k.Name())
	}
}
