//go:build integration

package valkey

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/valkeytest"
)

// What is only read is asked for again for some seconds, and of who is silent once.
func TestRereadsEnd(t *testing.T) {
	e, err := Open(t.Context(), 1, Config{Addrs: []string{valkeytest.Start(t).Addr}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }() // it never fails
	cmd := e.client().B().Get().Key("k").Build()
	var all time.Duration
	for tries := 1; tries <= rereads; tries++ {
		d := rereadAfter(tries, cmd, errors.New("connection refused"))
		if d < 0 || d > rereadMost {
			t.Errorf("after %d tries it waits for %v, want 0 to %v", tries, d, rereadMost)
		}
		all += d
	}
	if all < time.Second || all > 4*time.Second {
		t.Errorf("it asks again for %v, want two seconds or three, and no more than a second off", all)
	}
	for tries, err := range map[int]error{rereads + 1: errors.New("connection refused"), 2: os.ErrDeadlineExceeded} {
		if d := rereadAfter(tries, cmd, err); d >= 0 {
			t.Errorf("after %d tries and %q it asks again in %v, want it not to", tries, err, d)
		}
	}
	if d := rereadAfter(1, cmd, os.ErrDeadlineExceeded); d < 0 {
		t.Error("who is silent is not asked again")
	}
}
