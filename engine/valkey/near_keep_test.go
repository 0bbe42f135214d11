package valkey

import (
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

// Two reads of one round come back in the other order: the one that has more stays.
// What comes back in a later round is not kept at all.
func TestNearKeepsTheLater(t *testing.T) {
	n, err := newNear(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	n.trust(time.Now())
	k := crdt.SessionKey(crdt.NewSessionID(crdt.TimeOf(time.Now()).Add(time.Hour), 1, crdt.IDEntropy{1}))
	a := crdt.NewActor(1, 7)
	at := func(s crdt.Stamp) crdt.Record {
		return crdt.Record{Key: k, Born: crdt.Born{Dot: crdt.Dot{Actor: a, Stamp: 1}}, VV: crdt.Vector{{Actor: a, Stamp: s}}}
	}
	_, in, _ := n.lookup(k, crdt.Token{})
	n.keep(k, at(11), in, time.Time{})
	n.keep(k, at(10), in, time.Time{})
	if r, _, ok := n.lookup(k, crdt.Token{}); !ok || !r.VV.Has(crdt.Dot{Actor: a, Stamp: 11}) {
		t.Errorf("near is %v, %v; want the later of two reads", r.VV, ok)
	}
	n.keep(k, at(12), in, time.Time{})
	if r, _, ok := n.lookup(k, crdt.Token{}); !ok || !r.VV.Has(crdt.Dot{Actor: a, Stamp: 12}) {
		t.Errorf("near is %v, %v; want what came later", r.VV, ok)
	}
	if _, _, ok := n.lookup(k, crdt.Token{}.With(crdt.Dot{Actor: a, Stamp: 13})); ok {
		t.Error("what lacks something the client has seen is shown")
	}
	n.keep(k, crdt.Record{Key: k, Dead: true}, in, time.Time{})
	if r, _, ok := n.lookup(k, crdt.Token{}); !ok || !r.Dead {
		t.Errorf("near is %v, %v; want the logout", r, ok)
	}
	n.changed(k.Name())
	n.keep(k, at(13), in, time.Time{}) // what somebody is shown who began before the change
	if r, _, ok := n.lookup(k, crdt.Token{}); ok {
		t.Errorf("near is %v after a change, want nothing", r.VV)
	}
	_, in, _ = n.lookup(k, crdt.Token{})
	n.keep(k, at(12), in, time.Time{})
	if r, _, ok := n.lookup(k, crdt.Token{}); ok {
		t.Errorf("near is %v after more was shown, want nothing", r.VV)
	}
	n.keep(k, at(13), in, time.Time{})
	if _, _, ok := n.lookup(k, crdt.Token{}); !ok {
		t.Error("what has all that was shown is not near")
	}
	_, in, _ = n.lookup(k, crdt.Token{})
	n.flush()
	n.keep(k, at(14), in, time.Time{})
	if r, _, ok := n.lookup(k, crdt.Token{}); ok {
		t.Errorf("near is %v after a flush, want nothing", r.VV)
	}
}

// What a replica has is kept if it has all that was shown, written or heard of of the
// slot's keys, and a replica that may lack some of it is not asked.
func TestNearKeepsOfReplicas(t *testing.T) {
	n, err := newNear(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	n.trust(time.Now())
	k := crdt.SessionKey(crdt.NewSessionID(crdt.TimeOf(time.Now()).Add(time.Hour), 1, crdt.IDEntropy{1}))
	r := crdt.Record{Key: k, Born: crdt.Born{Dot: crdt.Dot{Actor: crdt.NewActor(1, 7), Stamp: 1}}}
	for name, happens := range map[string]func(){
		"it changed":                  func() { n.changed(k.Name()) },
		"all may have changed":        func() { n.flush() },
		"the primary's was shown":     func() { n.keep(k, r, n.round(k), time.Time{}) },
		"another replica's was shown": func() { n.keep(k, r, n.round(k), time.Now().Add(time.Hour)) },
		"it was shown as none":        func() { n.keep(k, crdt.Record{Key: k}, n.round(k), time.Time{}) },
	} {
		before := time.Now()
		happens()
		n.cache.InvalidateAll() // as if there was no room
		after := time.Now()
		_, in, _ := n.lookup(k, crdt.Token{})
		if since := n.since(in); since.Before(before) || since.After(after) {
			t.Errorf("%s: a replica is asked that has what there was %v before, want until then", name, after.Sub(since))
		}
		n.keep(k, r, in, before)
		if _, _, ok := n.lookup(k, crdt.Token{}); ok {
			t.Errorf("%s: what a replica had before is kept", name)
		}
		_, in, _ = n.lookup(k, crdt.Token{})
		n.keep(k, r, in, time.Now().Add(time.Millisecond)) // clocks may be coarse
		if _, _, ok := n.lookup(k, crdt.Token{}); !ok {
			t.Errorf("%s: what a replica has afterwards is not kept", name)
		}
	}
}
