package fault_test

import (
	"errors"
	"testing"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/enginetest"
	"github.com/roam-sessions/roam/engine/memory"
	"github.com/roam-sessions/roam/internal/fault"
)

// An owner closes what is remote too; hanging up alone leaves it open to others.
type owner struct {
	*fault.Remote
	owned engine.Engine
}

func (o owner) Close() error { return errors.Join(o.Remote.Close(), o.owned.Close()) }

// Whatever wraps an engine is one: seen over a network that is well, and with a
// plan under which nothing fails.
func TestPromises(t *testing.T) {
	for name, wrap := range map[string]func(engine.Engine) engine.Engine{
		"remote": func(e engine.Engine) engine.Engine {
			return owner{fault.NewNet(1).Engine("west", "east", e), e}
		},
		"errors": func(e engine.Engine) engine.Engine { return fault.Errors(e, 1, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			enginetest.Run(t, func(t *testing.T, here crdt.Region) engine.Engine {
				t.Helper()
				m, err := memory.New(here, memory.Config{})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = m.Close() })
				return wrap(m)
			}, enginetest.Options{})
		})
	}
}
