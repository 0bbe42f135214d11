//go:build integration && drill

package drill

import (
	"context"
	"strings"
	"testing"
	"time"
)

// lines has what a drill says be told by its test.
type lines struct{ t *testing.T }

func (l lines) Write(b []byte) (int, error) {
	l.t.Log(strings.TrimSuffix(string(b), "\n"))
	return len(b), nil
}

// The primary changes once as planned and once by a cut, on real servers, and nothing is lost:
// what only a Region had that was cut off is named in the receipt, write by write. How long
// that takes is for make failover to judge, on a machine that does nothing else.
func TestDrill(t *testing.T) {
	const muchTooLong = 20 * time.Second
	r, err := Run(t.Context(), Config{Planned: 1, Unplanned: 1, Kind: "cut of the Region", Clients: 4, Out: lines{t}})
	if err != nil {
		t.Fatal(err)
	}
	planned, lost := r.Planned[0], r.Unplanned[0]
	if planned.Acknowledged == 0 || len(planned.Clients) != 12 || planned.Servers == 0 || planned.Servers > muchTooLong {
		t.Errorf("of the switchover is known %+v, want acknowledged writes, and the gaps of twelve clients", planned)
	}
	if len(lost.Waits) != 8 || lost.worst() > muchTooLong {
		t.Errorf("clients waited %v, want the eight that are not cut off", lost.Waits)
	}
	if lost.Missing == 0 || lost.Listed < lost.Missing {
		t.Errorf("%d writes were missing and the receipt has %d, want some, and all of them", lost.Missing, lost.Listed)
	}
	for _, text := range r.Broken() {
		if !strings.Contains(text, " ms, want ") {
			t.Error(text)
		}
	}
}

// A drill that is given up ends soon.
func TestDrillIsGivenUp(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	begun := time.Now()
	if _, err := Run(ctx, Config{Planned: 1}); err == nil {
		t.Error("Run of a context that ends = no error")
	}
	if took := time.Since(begun); took > 15*time.Second {
		t.Errorf("it ended after %v", took)
	}
}
