package router

import (
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine/memory"
)

// Every malformed configuration gets one error that names every fault, and a
// configuration that is accepted makes plans that end.
func FuzzConfig(f *testing.F) {
	f.Add(uint8(1), uint8(2), uint8(0), uint8(0), int64(0), int64(0), int64(0), true)
	f.Add(uint8(0), uint8(16), uint8(3), uint8(9), int64(-1), int64(time.Hour), int64(-5), false)
	e, err := memory.New(1, memory.Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = e.Close() })
	f.Fuzz(func(t *testing.T, a, b, primary, mode uint8, local, remote, budget int64, hasEngine bool) {
		regions := []Region{{ID: crdt.Region(a), Name: "a", Engine: e}, {ID: crdt.Region(b), Name: "b"}}
		if hasEngine {
			regions[1].Engine = e
		}
		c := Config{
			Primary: crdt.Region(primary), ReadAfterWrite: Mode(mode), LocalTimeout: time.Duration(local),
			RemoteTimeout: time.Duration(remote), WriteBudget: time.Duration(budget),
		}.withTimes()
		var said string
		if _, err := c.rules(regions); err != nil {
			said = err.Error()
		}
		for _, fault := range []struct {
			there bool
			names string
		}{
			{!crdt.Region(a).Valid() || !crdt.Region(b).Valid(), "want 1 to 15"},
			{a == b && crdt.Region(a).Valid(), "used twice"},
			{!hasEngine, "has no engine"},
			{primary != 0 && primary != a && primary != b, "not one of the Regions"},
			{c.RemoteTimeout < 200*time.Millisecond || c.RemoteTimeout > 500*time.Millisecond, "RemoteTimeout"},
			{local < 0, "LocalTimeout"},
			{budget < 0, "WriteBudget"},
			{mode > uint8(Accept), "mode"},
		} {
			if strings.Contains(said, fault.names) != fault.there {
				t.Errorf("error %q, names %q = %v, want %v", said, fault.names, !fault.there, fault.there)
			}
		}
	})
}

// What the router adds to a read that its own Region answers.
func BenchmarkReadEngine(b *testing.B) {
	e, k := benchEngine(b)
	for b.Loop() {
		if _, err := e.Read(b.Context(), k, crdt.Token{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadRouter(b *testing.B) {
	e, k := benchEngine(b)
	r, err := New(b.Context(), []Region{{ID: 1, Name: "here", Engine: e}}, Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	for b.Loop() {
		if _, err := r.Read(b.Context(), Query{Key: k}); err != nil {
			b.Fatal(err)
		}
	}
}

func benchEngine(b *testing.B) (*memory.Engine, crdt.Key) {
	b.Helper()
	b.ReportAllocs()
	e, err := memory.New(1, memory.Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = e.Close() })
	now := crdt.TimeOf(time.Now())
	k := crdt.SessionKey(crdt.NewSessionID(now.Add(time.Hour), 1, crdt.IDEntropy{1}))
	_, err = e.Apply(b.Context(), k, crdt.Op{Stamp: now.Stamp(), Birth: &crdt.Birth{}, Auth: &crdt.Auth{Cur: crdt.Hash{1}}})
	if err != nil {
		b.Fatal(err)
	}
	return e, k
}
