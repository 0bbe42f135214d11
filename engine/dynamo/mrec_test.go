package dynamo

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

// A globalTable is a Global Table of eventual consistency as AWS describes it: each Region
// writes its own copy at once, by conditions on that copy; the whole item then travels to
// the others, at any time and in any order; of two writes to one item the one with the
// later timestamp is kept, and nothing of the other. Time to live deletes in any Region by
// the copy there, and the deletion travels like a write.
type globalTable struct {
	rng    *rand.Rand
	now    crdt.Time
	tick   int64 // of the timestamps
	skew   []int64
	copies []map[rowID]row // by Region, from 0
	roads  []parcel        // on their way
}

// A row is an item, or that there is none since then.
type row struct {
	item item
	gone bool
	at   int64
	by   int // breaks ties
}

// A rowID is the primary key of an item.
type rowID struct {
	key    string
	writer crdt.Region
}

// A parcel is a write on its way to a Region.
type parcel struct {
	to  int
	id  rowID
	row row
}

func newGlobalTable(rng *rand.Rand, regions int) *globalTable {
	g := &globalTable{rng: rng, now: 90_000_000_000}
	for range regions {
		g.copies = append(g.copies, map[rowID]row{})
		g.skew = append(g.skew, rng.Int64N(40))
	}
	return g
}

// engine returns an engine of a Region, from 0.
func (g *globalTable) engine(region int, strong bool) *Engine {
	c := Config{
		Region: []string{"us-west-1", "us-west-2", "eu-west-1"}[region], Strong: strong,
		Clock: func() time.Time { return g.now.Std() },
	}
	return newEngine(crdt.Region(region+1), c, &regional{g, region}) //nolint:gosec // small
}

// write writes in one Region and sends it to the others.
func (g *globalTable) write(region int, id rowID, r row) {
	g.tick += 1 + g.rng.Int64N(3)
	r.at, r.by = g.tick+g.skew[region], region
	if old, ok := g.copies[region][id]; ok { // a Region's own timestamps only rise
		r.at = max(r.at, old.at+1)
	}
	g.copies[region][id] = r
	for to := range g.copies {
		if to != region {
			g.roads = append(g.roads, parcel{to, id, r})
		}
	}
}

// deliver brings up to n parcels, in any order and some twice.
func (g *globalTable) deliver(n int) {
	for ; n > 0 && len(g.roads) > 0; n-- {
		i := g.rng.IntN(len(g.roads))
		p := g.roads[i]
		if g.rng.IntN(8) > 0 {
			g.roads[i] = g.roads[len(g.roads)-1]
			g.roads = g.roads[:len(g.roads)-1]
		}
		old, ok := g.copies[p.to][p.id]
		if !ok || cmp.Or(cmp.Compare(p.row.at, old.at), cmp.Compare(p.row.by, old.by)) > 0 {
			g.copies[p.to][p.id] = p.row
		}
	}
}

func (g *globalTable) deliverAll() {
	for len(g.roads) > 0 {
		g.deliver(len(g.roads))
	}
}

// expire has time to live delete in a Region what its copy says is past its time.
func (g *globalTable) expire(region int) {
	var ids []rowID
	for id, r := range g.copies[region] {
		if !r.gone && r.item.expiry < g.now.Std().Unix() {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b rowID) int { return cmp.Or(strings.Compare(a.key, b.key), cmp.Compare(a.writer, b.writer)) })
	for _, id := range ids {
		g.write(region, id, row{gone: true})
	}
}

// A regional is one Region's copy, as a table.
type regional struct {
	g      *globalTable
	region int
}

func (t *regional) items(_ context.Context, key string) ([]item, error) {
	var out []item
	for writer := range crdt.Region(len(t.g.copies) + 1) { //nolint:gosec // few
		if r, ok := t.g.copies[t.region][rowID{key, writer}]; ok && !r.gone {
			out = append(out, r.item)
		}
	}
	return out, nil
}

func (t *regional) put(_ context.Context, it item, was version) error {
	t.g.deliver(t.g.rng.IntN(3)) // others go on between the read and the write
	id := rowID{it.key, it.writer}
	if r := t.g.copies[t.region][id]; r.gone && was != (version{}) || r.item.version != was {
		return errConflict
	}
	t.g.write(t.region, id, row{item: it})
	return nil
}

func (t *regional) remove(context.Context, item) error { return errConflict }

func (t *regional) scan(context.Context, position) ([]item, position, error) { return nil, nil, nil }

func (t *regional) past(context.Context, segment, position) ([]item, position, error) {
	return nil, nil, nil
}

func (t *regional) close() {}
