package fault

import (
	"errors"
	"testing"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/enginetest"
	"github.com/roam-sessions/roam/engine/memory"
)

// owner closes the engine with the handle: the suite has one Close for both.
type owner struct {
	*Remote
}

func (o owner) Close() error { return errors.Join(o.Remote.Close(), o.Unwrap().Close()) }

// TestPromises holds both wrappers to the contract when nothing is wrong.
func TestPromises(t *testing.T) {
	for _, w := range []struct {
		name string
		wrap func(engine.Engine) engine.Engine
	}{
		{"Remote", func(e engine.Engine) engine.Engine { return owner{NewNet(*seed).Engine("a", "b", e)} }},
		{"Faulty", func(e engine.Engine) engine.Engine { return Errors(e, *seed, nil) }},
	} {
		t.Run(w.name, func(t *testing.T) {
			enginetest.Run(t, func(t *testing.T, here crdt.Region) engine.Engine {
				inner, err := memory.New(here, memory.Config{})
				if err != nil {
					t.Fatalf("memory.New(%v) = %v", here, err)
				}
				e := w.wrap(inner)
				t.Cleanup(func() { _ = e.Close() }) // a case may have closed it
				return e
			}, enginetest.Options{Seed: *seed})
		})
	}
}
