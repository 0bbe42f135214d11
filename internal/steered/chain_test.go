package steered

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/judge"
)

// A words is a chain that says what it is told to.
type words struct {
	role    valkey.Role
	mark    uint64
	beat    valkey.Beat
	dialled int
}

func (w *words) Role(context.Context) (valkey.Role, error)   { return w.role, nil }
func (w *words) Marked(context.Context) (uint64, error)      { return w.mark, nil }
func (w *words) Mark(context.Context, uint64) error          { return nil }
func (w *words) Beaten(context.Context) (valkey.Beat, error) { return w.beat, nil }
func (w *words) Beat(context.Context, uint64) error          { return nil }
func (w *words) Close() error                                { return nil }

func (w *words) Redial(context.Context) error {
	w.dialled++
	return nil
}

// A manager is a Service that says what it is.
type manager Managed

func (m manager) State(bool) Managed { return Managed(m) }
func (m manager) Promote(bool) error { return nil }

// looker returns a server on words, whose clock was asked just now.
func looker(w *words, m manager) *Server {
	s := New(Config{Self: "west", Service: m})
	s.engine, s.chain = &valkey.Engine{}, w
	s.mood.clocked = time.Now()
	return s
}

// Shards of which some are primaries and some are not are nothing that can be gone by: where
// the Service has them be primaries they are found anew, and else they are no linked replica.
func TestLookAtShardsThatDiffer(t *testing.T) {
	w := &words{role: valkey.Role{RunID: "r"}}
	if seen, err := looker(w, manager{Primary: "west"}).look(t.Context()); !errors.Is(err, errMoved) || w.dialled != 1 {
		t.Errorf("look = %+v, %v after dialling %d times anew, want errMoved after once", seen, err, w.dialled)
	}
	s := looker(w, manager{Primary: "east", Fit: true})
	s.whole = 1
	if seen, err := s.look(t.Context()); err != nil || seen.Primary || seen.Linked || seen.Turned || seen.Held || seen.Follows != "east" {
		t.Errorf("look = %+v, %v, want one that can't be gone by", seen, err)
	}
	if s.whole != none {
		t.Errorf("it has all that it took since epoch %d, want none", s.whole)
	}
}

// A beat that some shards lack has its epoch, and neither a number nor a time.
func TestLookAtBeatThatSomeLack(t *testing.T) {
	w := &words{role: valkey.Role{RunID: "r", LinkUp: true}, beat: valkey.Beat{Epoch: 7}}
	if seen, err := looker(w, manager{Primary: "east"}).look(t.Context()); err != nil || seen.Beat != (judge.Beat{Epoch: 7}) {
		t.Errorf("look = %+v, %v, want the epoch alone", seen, err)
	}
}

// Of several clocks the one counts that is farthest off.
func TestFarthest(t *testing.T) {
	for want, ahead := range map[time.Duration][]time.Duration{
		0: {0}, 3: {3}, -5: {1, -5, 4}, 9: {-8, 9, 0}, -2: {-2, -1},
	} {
		var times []time.Duration
		for _, d := range ahead {
			times = append(times, time.Hour+d)
		}
		if got := farthest(times, time.Hour); got != want {
			t.Errorf("farthest of clocks that are %d ahead = %d, want %d", ahead, got, want)
		}
	}
}
