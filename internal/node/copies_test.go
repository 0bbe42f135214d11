package node

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/engine/memory"
	"github.com/roam-sessions/roam/internal/topology"
)

// A swept is an engine on a table that deletes nothing by itself.
type swept struct {
	*memory.Engine
	sweeps atomic.Int64
	fails  atomic.Bool
}

func (s *swept) Sweep(context.Context) (int, error) {
	s.sweeps.Add(1)
	if s.fails.Load() {
		return 3, errors.New("the table is busy")
	}
	return 7, nil
}

// What is past its time is deleted by the node of one Region, a few times a day and not at
// its start, where the table does not do so.
func TestOneRegionSweeps(t *testing.T) {
	const mrsc = `
version: 1
topology: active-active
regions:
  - {name: west, id: 1, engine: {dynamo: {table: sessions, aws_region: us-west-2, strong: true}}, node: {http: "127.0.0.1:1"}}
  - {name: east, id: 2, engine: {dynamo: {table: sessions, aws_region: us-east-1, strong: true}}, node: {http: "127.0.0.1:2"}}
`
	mrec := strings.ReplaceAll(mrsc, ", strong: true", "")
	for text, names := range map[string]map[string]bool{mrsc: {"west": true, "east": false}, mrec: {"west": false}} {
		d, err := topology.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		for name, sweeps := range names {
			synctest.Test(t, func(t *testing.T) {
				mem, err := memory.New(1, memory.Config{})
				if err != nil {
					t.Fatal(err)
				}
				e := &swept{Engine: mem}
				n := &Node{deployment: d, config: Config{}.withDefaults()}
				n.region, _ = d.Region(name)
				ctx, stop := context.WithCancel(t.Context())
				wait := n.keepStore(ctx, e)
				time.Sleep(5*time.Minute - time.Second)
				synctest.Wait()
				if got := e.sweeps.Load(); got != 0 {
					t.Errorf("%s swept %d times as soon as it had started", name, got)
				}
				e.fails.Store(true)
				time.Sleep(20 * time.Minute)
				e.fails.Store(false)
				time.Sleep(24 * time.Hour)
				synctest.Wait()
				if got := e.sweeps.Load(); sweeps && (got < 3 || got > 7) || !sweeps && got != 0 {
					t.Errorf("%s swept %d times in a day, want a few if %t", name, got, sweeps)
				}
				stop()
				wait()
				_ = mem.Close() // never fails
			})
		}
	}
}
