package replica

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// store is the least engine that keeps a log and takes one in. It has no lock,
// no clock and no goroutine.
type store struct {
	actor   crdt.Actor
	records map[crdt.Key]crdt.Record
	logs    [crdt.Partitions]plog
	cursor  map[crdt.Region]engine.Positions
	until   crdt.Time             // deadline of what put writes; 1,000
	keys    map[uint16][]crdt.Key // testKeys and others by partition, in an order that does not change
}

type plog struct {
	fork    uint64 // Batch.Fork
	trimmed uint64 // number of the last entry that is no longer kept
	frags   []crdt.Fragment
	actor   crdt.Actor
}

func newStore(actor crdt.Actor) *store {
	keys := map[uint16][]crdt.Key{}
	for _, k := range testKeys() {
		keys[k.Partition()] = append(keys[k.Partition()], k)
	}
	return &store{actor: actor, records: map[crdt.Key]crdt.Record{}, cursor: map[crdt.Region]engine.Positions{}, keys: keys}
}

// clone returns a copy, as a replica of s is.
func (s *store) clone() *store {
	out := *s
	out.records, out.cursor, out.keys = maps.Clone(s.records), maps.Clone(s.cursor), maps.Clone(s.keys)
	for p := range out.logs {
		out.logs[p].frags = slices.Clone(s.logs[p].frags)
	}
	return &out
}

// promote makes s go on as actor, with none of its predecessor's log.
func (s *store) promote(actor crdt.Actor) {
	s.actor = actor
	for p := range s.logs {
		l := &s.logs[p]
		l.trimmed += uint64(len(l.frags))
		l.fork, l.frags = l.trimmed, nil
	}
}

func (s *store) get(k crdt.Key) crdt.Record {
	if r, ok := s.records[k]; ok {
		return r
	}
	return crdt.Record{Key: k}
}

func (s *store) write(now crdt.Time, k crdt.Key, op crdt.Op) (crdt.Dot, error) {
	r, frag, err := crdt.Apply(s.get(k), op, crdt.Origin{Actor: s.actor, Now: now})
	if err != nil || frag.Dot.IsZero() {
		return frag.Dot, err
	}
	s.records[k] = r
	l := &s.logs[k.Partition()]
	l.frags, l.actor = append(l.frags, frag), s.actor
	return frag.Dot, nil
}

// put writes a value under the user's key k.
func (s *store) put(now crdt.Time, k crdt.Key, value string) crdt.Dot {
	stamp := max(now.Stamp(), s.get(k).VV.Max()) + 1
	dot, err := s.write(now, k, crdt.Op{Stamp: stamp, Changes: []crdt.Change{
		crdt.Index(crdt.NewSessionID(max(1000, s.until), 1, crdt.IDEntropy{byte(now % 3)}), []byte(value)),
	}})
	if err != nil {
		panic(fmt.Sprintf("put %v: %v", k, err)) // invariant: the test's own operation
	}
	return dot
}

func (s *store) head() (at engine.Positions) {
	for p := range s.logs {
		if n := s.logs[p].trimmed + uint64(len(s.logs[p].frags)); n > 0 {
			at[p] = engine.Position{Actor: s.logs[p].actor, N: n}
		}
	}
	return at
}

// after returns the next batch after at in a partition, of at most n entries.
func (s *store) after(p int, at engine.Position, n int) (engine.Batch, bool) {
	l := &s.logs[p]
	next := uint64(1)
	if at.Actor == s.actor {
		next = at.N + 1
	}
	next = max(next, l.trimmed+1)
	from := int(next - l.trimmed - 1)
	if from >= len(l.frags) {
		return engine.Batch{}, false
	}
	return engine.Batch{
		Partition: uint16(p), Actor: s.actor, Fork: l.fork, First: next, Frags: l.frags[from:min(len(l.frags), from+n)],
	}, true
}

func (s *store) trim(p int, upto uint64) {
	l := &s.logs[p]
	if upto > l.trimmed {
		n := min(int(upto-l.trimmed), len(l.frags))
		l.frags, l.trimmed = l.frags[n:], l.trimmed+uint64(n)
	}
}

func (s *store) ingest(from crdt.Region, b engine.Batch) engine.Ingested {
	cursor := s.cursor[from]
	at := cursor[b.Partition]
	out := engine.Ingested{Position: at}
	if !b.Rebase && b.First > follows(at, b) {
		out.Hole = true
		return out
	}
	for i, frag := range b.Frags {
		if at.Actor == b.Actor && b.First+uint64(i) <= at.N || frag.Effect.Key.IsZero() {
			continue
		}
		r, outcome := crdt.Merge(s.get(frag.Effect.Key), frag)
		switch outcome {
		case crdt.Gap:
			out.Gaps = append(out.Gaps, r.Key)
		case crdt.Applied:
			s.records[r.Key] = r
		}
	}
	if len(out.Gaps) > 0 {
		return out
	}
	if b.Rebase || at.Actor != b.Actor || at.N < b.Last().N {
		cursor[b.Partition] = b.Last()
	}
	s.cursor[from] = cursor
	out.Position = cursor[b.Partition]
	return out
}

func (s *store) join(r crdt.Record) {
	if !r.IsBottom() {
		if p := r.Key.Partition(); !slices.Contains(s.keys[p], r.Key) {
			s.keys[p] = append(s.keys[p], r.Key)
		}
		s.records[r.Key] = crdt.Join(s.get(r.Key), r)
	}
}

func (s *store) fold(f *Fold) {
	for _, r := range s.inPartition(f.Partition()) {
		f.Add(r)
	}
}

func (s *store) inPartition(p uint16) []crdt.Record {
	var out []crdt.Record
	for _, k := range s.keys[p] {
		if r, ok := s.records[k]; ok {
			out = append(out, r)
		}
	}
	return out
}

// keyIn returns the first of testKeys in a partition.
func keyIn(part uint16) crdt.Key {
	for _, k := range testKeys() {
		if k.Partition() == part {
			return k
		}
	}
	panic("no key in partition") // invariant: tests ask for the first four
}

// testKeys are the records that tests write: several to each of the first four
// partitions, where the hash puts users of these numbers.
func testKeys() (out []crdt.Key) {
	for _, n := range []int{10, 31, 32, 56, 84, 106, 113, 115, 141, 142, 150, 196} {
		out = append(out, crdt.UserKey(fmt.Sprint("user", n)))
	}
	return out
}

// fake makes an engine of a store.
type fake struct {
	now func() crdt.Time

	mu      sync.Mutex // guards what follows
	s       *store
	changed chan struct{} // closed at every write
	release engine.Positions
	fail    error // of every Ingest
}

func newFake(region crdt.Region, now func() crdt.Time) *fake {
	return &fake{now: now, s: newStore(crdt.NewActor(region, 7)), changed: make(chan struct{})}
}

func (f *fake) Read(_ context.Context, k crdt.Key, _ crdt.Token) (crdt.Record, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.s.get(k), nil
}

func (f *fake) Apply(_ context.Context, k crdt.Key, op crdt.Op) (crdt.Dot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	dot, err := f.s.write(f.now(), k, op)
	f.wake()
	return dot, err
}

func (f *fake) put(k crdt.Key, value string) crdt.Dot {
	f.mu.Lock()
	defer f.mu.Unlock()
	dot := f.s.put(f.now(), k, value)
	f.wake()
	return dot
}

func (f *fake) wake() {
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fake) Join(_ context.Context, r crdt.Record) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.s.join(r)
	return nil
}

func (f *fake) Close() error { return nil }

func (f *fake) Follow(ctx context.Context, from engine.Positions, emit func(engine.Batch) error) error {
	for {
		f.mu.Lock()
		changed := f.changed
		var found []engine.Batch
		for p := range from {
			if b, ok := f.s.after(p, from[p], 1024); ok {
				found = append(found, b)
				from[p] = b.Last()
			}
		}
		f.mu.Unlock()
		for _, b := range found {
			if err := emit(b); err != nil {
				return err
			}
		}
		if len(found) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

func (f *fake) Release(_ context.Context, upto engine.Positions) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.release = upto
	return nil
}

func (f *fake) released() engine.Positions {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.release
}

func (f *fake) Head(context.Context) (engine.Positions, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.s.head(), nil
}

func (f *fake) Ingest(_ context.Context, from crdt.Region, b engine.Batch) (engine.Ingested, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return engine.Ingested{}, f.fail
	}
	return f.s.ingest(from, b), nil
}

func (f *fake) Positions(_ context.Context, from crdt.Region) (engine.Positions, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.s.cursor[from], nil
}

func (f *fake) Scan(_ context.Context, of engine.Partitions, yield func(crdt.Record) bool) error {
	f.mu.Lock()
	var found []crdt.Record
	for p := range of.All() {
		found = append(found, f.s.inPartition(p)...)
	}
	f.mu.Unlock()
	for _, r := range found {
		if !yield(r) {
			break
		}
	}
	return nil
}
