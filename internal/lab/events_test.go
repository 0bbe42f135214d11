package lab

import (
	"slices"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/console"
)

// What one action did to both planes of a link is one line to read.
func TestEventsOfLinks(t *testing.T) {
	for name, c := range map[string]struct {
		actions []console.Action
		want    []string // of the last action
	}{
		"both planes": {
			[]console.Action{{Plane: console.PlaneAll, Cut: new(true)}},
			[]string{"us-west-1 → eu-west-1: cut"},
		},
		"one plane": {
			[]console.Action{{Plane: console.PlaneCalls, DelayMs: new(500), Loss: new(0.05)}},
			[]string{"us-west-1 → eu-west-1, calls: 500ms, 5 % lost"},
		},
		"both, which differ": {
			[]console.Action{{Plane: console.PlaneCalls, DelayMs: new(500)}, {Plane: console.PlaneAll, Loss: new(0.05)}},
			[]string{"us-west-1 → eu-west-1, calls: 500ms, 5 % lost", "us-west-1 → eu-west-1, replication: 68ms, 5 % lost"},
		},
	} {
		inLab(t, console.ActiveActive, func(t *testing.T, l *Lab) {
			last := uint64(0)
			for _, a := range c.actions {
				last = l.State().LastEvent
				a.Kind, a.From, a.To = console.ActLink, west1, europe
				must(t, l, a)
			}
			events, err := l.Events(t.Context(), last)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range events {
				got = append(got, e.Text)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: events %q, want %q", name, got, c.want)
			}
		})
	}
}

func TestBrief(t *testing.T) {
	for d, want := range map[time.Duration]string{
		1681356 * time.Microsecond: "1.68s",
		68437 * time.Microsecond:   "68.4ms",
		19300 * time.Nanosecond:    "19µs",
		0:                          "0s",
	} {
		if got := brief(d).String(); got != want {
			t.Errorf("brief(%d ns) = %s, want %s", d.Nanoseconds(), got, want)
		}
	}
}
