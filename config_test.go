package roam_test

import (
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/engine/memory"
)

// Every duration of a Config gets to where it is gone by, and is judged there.
func TestConfigsDurationsAreJudged(t *testing.T) {
	e, err := memory.New(1, memory.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() }) // never fails
	c := roam.Config{
		Here:         roam.Region{ID: 1, Name: "here", Engine: e},
		LocalTimeout: -1, RemoteTimeout: -1, ReadBudget: -1, WriteBudget: -1,
		MaxWait: -1, StrictBound: -1, Backoff: []time.Duration{-1},
	}
	_, err = roam.Open(t.Context(), c)
	for _, name := range []string{"LocalTimeout", "RemoteTimeout", "ReadBudget", "WriteBudget", "MaxWait", "StrictBound", "Backoff"} {
		if err == nil || !strings.Contains(err.Error(), name+" -1ns") {
			t.Errorf("Open with %s -1 = %v, want a fault of it", name, err)
		}
	}
}
