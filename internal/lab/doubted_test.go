package lab

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// An emptied engine finds nothing, and does something just before it says so.
type emptied struct {
	engine.Engine
	err  error
	then func()
}

func (e emptied) Read(_ context.Context, k crdt.Key, _ crdt.Token) (crdt.Record, error) {
	e.then()
	return crdt.Record{Key: k}, e.err
}

// What others read of a Region that is being refilled proves nothing, be it that the
// refill ends or begins while they read.
func TestRefillIsDoubtedElsewhere(t *testing.T) {
	var refilling atomic.Bool
	set := func(on bool) func() { return func() { refilling.Store(on) } }
	for name, c := range map[string]struct {
		before    bool
		during    func()
		err, want error
	}{
		"whole":                     {false, set(false), nil, nil},
		"during a refill":           {true, set(true), nil, engine.ErrRefilling},
		"it ends meanwhile":         {true, set(false), nil, engine.ErrRefilling},
		"it begins meanwhile":       {false, set(true), nil, engine.ErrRefilling},
		"an error stays what it is": {true, set(true), engine.ErrUnreachable, engine.ErrUnreachable},
	} {
		refilling.Store(c.before)
		e := doubted{emptied{err: c.err, then: c.during}, &refilling}
		if _, err := e.Read(t.Context(), crdt.Key{}, crdt.Token{}); !errors.Is(err, c.want) {
			t.Errorf("%s: Read = %v, want %v", name, err, c.want)
		}
	}
}
