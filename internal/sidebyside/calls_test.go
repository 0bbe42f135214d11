//go:build integration

package sidebyside_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	roamvalkey "github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/sidebyside"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// plain is what one would do with a client alone.
type plain struct{ valkey.Client }

func hashName(i int) string   { return fmt.Sprintf("hash:%032d", i) }
func stringName(i int) string { return fmt.Sprintf("session:%032d", i%visitors) }

// whole is what a session is as one string: names and values.
func whole(i int) (s string) {
	for f := range fields {
		s += fieldName(f) + text(i+f)
	}
	return s
}

func (p plain) hset(ctx context.Context, i int) error {
	set := p.B().Hset().Key(hashName(i)).FieldValue()
	for f := range fields {
		set = set.FieldValue(fieldName(f), text(f))
	}
	return p.Do(ctx, set.Build()).Error()
}

func (p plain) hgetall(ctx context.Context, i int) error {
	got, err := p.Do(ctx, p.B().Hgetall().Key(hashName(i)).Build()).AsStrMap()
	if err == nil && len(got) != fields {
		err = fmt.Errorf("hash %d has %d fields", i, len(got))
	}
	return err
}

func (p plain) get(ctx context.Context, i int) error {
	return p.Do(ctx, p.B().Get().Key(stringName(i)).Build()).Error()
}

func (p plain) set(value string) side {
	return func(ctx context.Context, i int) error {
		return p.Do(ctx, p.B().Set().Key(stringName(i)).Value(value).ExSeconds(3600).Build()).Error()
	}
}

// ofVisitors is s for a number of a visitor.
func ofVisitors(s side) side {
	return func(ctx context.Context, i int) error { return s(ctx, i%visitors) }
}

// BenchmarkCalls is of the engine beside plain commands.
func BenchmarkCalls(b *testing.B) {
	s := valkeytest.Start(b)
	c, p := newCrowd(open(b, 1, roamvalkey.Config{Addrs: []string{s.Addr}})), plain{client(b, s.Addr)}
	set := p.set(whole(0))
	each(b, "sessions", visitors, c.bear)
	each(b, "hashes", visitors, p.hset)
	b.Run("read", func(b *testing.B) {
		eachClients(b, sidebyside.Read, ofVisitors(c.read), ofVisitors(p.hgetall), 1, 16, 256)
	})
	b.Run("put", func(b *testing.B) {
		eachClients(b, sidebyside.Put, ofVisitors(c.put), set, 1)
		eachClients(b, sidebyside.PutRate, ofVisitors(c.put), set, 16, 256)
	})
	b.Run("pool", func(b *testing.B) { compare(b, sidebyside.PutPool, pool, ofVisitors(c.put), pooled(b, s.Addr)) })
}

// BenchmarkNear is of what is near beside plain commands. It has a server of its own: one
// that tells a near-cache of each change is slower for all others.
func BenchmarkNear(b *testing.B) {
	s := valkeytest.Start(b)
	c, p := newCrowd(openNear(b, s.Addr)), plain{client(b, s.Addr)}
	each(b, "sessions", visitors, c.bear)
	each(b, "strings", visitors, p.set(whole(0)))
	each(b, "what is near", visitors, c.read)
	before := c.engine.NearCache()
	eachClients(b, sidebyside.ReadNear, ofVisitors(c.read), p.get, 1, 16, 256)
	after := c.engine.NearCache()
	// On a machine that is this busy the server's word may be late for a moment.
	if hits, misses := after.Hits-before.Hits, after.Misses-before.Misses; misses > visitors+hits/100 {
		b.Errorf("%d reads were not near and %d were, want one in a hundred at most", misses, hits)
	}
}

// pool is how many connections a pool has.
const pool = 50

// pooled sets a string on one of as many connections, which nobody else uses meanwhile.
func pooled(b *testing.B, addr string) side {
	b.Helper()
	free := make(chan side, pool)
	for range pool {
		free <- plain{dial(b, valkey.ClientOption{
			InitAddress: []string{addr}, DisableCache: true, ForceSingleClient: true, PipelineMultiplex: -1,
			ReadBufferEachConn: 16 << 10, WriteBufferEachConn: 16 << 10,
		})}.set(whole(0))
	}
	return func(ctx context.Context, i int) error {
		s := <-free
		defer func() { free <- s }()
		return s(ctx, i)
	}
}

// BenchmarkMerge is of batches of 128 writes of one field, to sessions that are there.
func BenchmarkMerge(b *testing.B) {
	const (
		batchSize = 128
		target    = 100_000 // a second
	)
	e := open(b, 1, roamvalkey.Config{Addrs: []string{valkeytest.Start(b).Addr}})
	log := newForeignLog(b, e)
	m := sidebyside.Measured{Row: sidebyside.Merge}
	for b.Loop() {
		batches := log.next(b, 1+int(target*slice.Seconds()/batchSize), batchSize)
		begun := time.Now()
		for _, batch := range batches {
			if got, err := e.Ingest(b.Context(), log.by.Region(), batch); err != nil || got.Hole || len(got.Gaps) > 0 {
				b.Fatalf("Ingest = %+v, %v", got, err)
			}
		}
		m.Ours = append(m.Ours, float64(len(batches)*batchSize)/time.Since(begun).Seconds())
		m.Base = append(m.Base, target)
	}
	report(b, m)
}

// A foreignLog is what another Region writes to sessions of one partition.
type foreignLog struct {
	by      crdt.Actor
	records []crdt.Record
	first   uint64 // number of the next entry
	stamp   crdt.Stamp
}

// newForeignLog has the births of its sessions taken in.
func newForeignLog(b *testing.B, e *roamvalkey.Engine) *foreignLog {
	b.Helper()
	log := &foreignLog{by: crdt.NewActor(2, 7), first: 1, stamp: stamp()}
	theirs := newCrowd(nil)
	for i := 0; len(log.records) < visitors; i++ {
		if k := theirs.key(i); k.Partition() == theirs.key(0).Partition() {
			log.records = append(log.records, crdt.Record{Key: k})
		}
	}
	batch := engine.Batch{Partition: log.records[0].Key.Partition(), Actor: log.by, First: 1}
	for i := range log.records {
		batch.Frags = append(batch.Frags, log.write(b, i, birth()))
		if len(batch.Frags) == 100 {
			if got, err := e.Ingest(b.Context(), log.by.Region(), batch); err != nil || got.Hole || len(got.Gaps) > 0 {
				b.Fatalf("Ingest = %+v, %v", got, err)
			}
			batch.First, batch.Frags = log.first, nil
		}
	}
	return log
}

// write does op to a session.
func (l *foreignLog) write(b *testing.B, session int, op crdt.Op) crdt.Fragment {
	b.Helper()
	l.stamp++
	op.Stamp = l.stamp
	r, f, err := crdt.Apply(l.records[session], op, crdt.Origin{Actor: l.by, Now: crdt.TimeOf(time.Now())})
	if err != nil {
		b.Fatal(err)
	}
	l.records[session] = r
	l.first++
	return f
}

// next returns so many batches, of so many writes each.
func (l *foreignLog) next(b *testing.B, batches, size int) (out []engine.Batch) {
	b.Helper()
	for range batches {
		batch := engine.Batch{Partition: l.records[0].Key.Partition(), Actor: l.by, First: l.first}
		for range size {
			i := int(l.first % visitors) //nolint:gosec // small
			batch.Frags = append(batch.Frags, l.write(b, i, crdt.Op{Changes: []crdt.Change{crdt.Put(fieldName(0), []byte(text(i)))}}))
		}
		out = append(out, batch)
	}
	return out
}

// few is how many sessions there are where there are few.
const few = 10_000

// BenchmarkMany is of reads at random, from many sessions and from few.
func BenchmarkMany(b *testing.B) {
	var sides []side
	for _, n := range []int{*sessions, few} {
		e := open(b, 1, roamvalkey.Config{Addrs: []string{valkeytest.Start(b).Addr}})
		c := newCrowd(e)
		c.load(b, 0, n)
		sides = append(sides, spread(n, c.read))
	}
	compare(b, sidebyside.ReadOfMany, 16, sides[0], sides[1], fmt.Sprintf("there were %d", *sessions))
}

// BenchmarkPlainOfMany is the same of plain hashes.
func BenchmarkPlainOfMany(b *testing.B) {
	var sides []side
	for _, n := range []int{*sessions, few} {
		p := plain{client(b, valkeytest.Start(b).Addr)}
		each(b, "hashes", n, p.hset)
		sides = append(sides, spread(n, p.hgetall))
	}
	compare(b, sidebyside.PlainOfMany, 16, sides[0], sides[1], fmt.Sprintf("there were %d", *sessions))
}

// spread does s for numbers below n, all over them.
func spread(n int, s side) side {
	var turn atomic.Uint64
	return func(ctx context.Context, _ int) error {
		const golden = 0x9e3779b97f4a7c15                     // visits all, and neighbours far apart
		return s(ctx, int((turn.Add(1)*golden>>1)%uint64(n))) //nolint:gosec // below n
	}
}

// BenchmarkMemory is what a session takes of the server, and what a plain string of the
// same names and values does. Each has a server of its own and as many keys, so that
// tables grow at the same time.
func BenchmarkMemory(b *testing.B) {
	const n = 160 * crdt.Partitions // of each, a round
	of, than := valkeytest.Start(b), valkeytest.Start(b)
	c, p := newCrowd(open(b, 1, roamvalkey.Config{Addrs: []string{of.Addr}})), plain{client(b, than.Addr)}
	grown := func(s *valkeytest.Server, by func()) float64 {
		before := info(b, s, "memory", "used_memory")
		by()
		return (info(b, s, "memory", "used_memory") - before) / n
	}
	m := sidebyside.Measured{Row: sidebyside.Memory}
	for made := 0; b.Loop(); made += n {
		m.Ours = append(m.Ours, grown(of, func() { c.load(b, made, made+n) }))
		m.Base = append(m.Base, grown(than, func() {
			each(b, "strings", n, func(ctx context.Context, i int) error {
				name := fmt.Sprintf("session:%032d", made+i)
				return p.Do(ctx, p.B().Set().Key(name).Value(whole(i)).ExSeconds(3600).Build()).Error()
			})
		}))
	}
	report(b, m)
}
