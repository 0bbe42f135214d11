//go:build integration

package valkey_test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	roamvalkey "github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// A call ends when its context does, also while another one, that may wait for
// longer, is connecting to a server that does not answer.
func TestCallsEndWhileConnecting(t *testing.T) {
	s := valkeytest.Start(t)
	door := valkeytest.NewDoor(t, s.Addr)
	e := open(t, 1, roamvalkey.Config{Addrs: []string{door.Addr}})
	k := bear(t, e)
	door.Hold(true)
	door.Lead(s.Addr)
	s.Do("CLIENT", "KILL", "TYPE", "normal") // connections end, and new ones hear nothing
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { door.Hold(false) })
	for range 2 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			_, _ = e.Read(ctx, k, crdt.Token{}) // it waits in vain
		})
	}
	time.Sleep(100 * time.Millisecond)
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		begun := time.Now()
		_, err := e.Read(ctx, k, crdt.Token{})
		cancel()
		if took := time.Since(begun); err == nil || took > 250*time.Millisecond {
			t.Errorf("a call of 50 ms ended after %v with %v", took, err)
			break
		}
	}
}

// Open ends with its context, and Close leaves nothing of calls that were waiting.
func TestOpenAndCloseWhileNobodyAnswers(t *testing.T) {
	s := valkeytest.Start(t)
	door := valkeytest.NewDoor(t, s.Addr)
	e, err := roamvalkey.Open(t.Context(), 1, roamvalkey.Config{Addrs: []string{door.Addr}})
	if err != nil {
		t.Fatal(err)
	}
	door.Hold(true)
	s.Do("CLIENT", "KILL", "TYPE", "normal")
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if _, err := e.Read(ctx, newKey(), crdt.Token{}); err == nil {
			t.Error("a read over a silent connection = no error")
		}
		cancel()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if _, err := roamvalkey.Open(ctx, 1, roamvalkey.Config{Addrs: []string{door.Addr}}); !errors.Is(err, engine.ErrUnreachable) {
		t.Errorf("Open while nobody answers = %v, want ErrUnreachable", err)
	}
	if took := time.Since(begun); took > 300*time.Millisecond {
		t.Errorf("Open with 100 ms ended after %v", took)
	}
	begun = time.Now()
	_ = e.Close() // never fails
	if took := time.Since(begun); took > 4*time.Second {
		t.Errorf("Close took %v, want three seconds and a moment", took)
	}
	stacks := make([]byte, 1<<20)
	if stacks = stacks[:runtime.Stack(stacks, true)]; bytes.Contains(stacks, []byte("(*Engine).ask.")) {
		t.Errorf("after Close a call is still waiting:\n%s", stacks)
	}
	door.Hold(false)
}

// A read of a server that is away ends by itself, whoever asks and however long he would wait;
// and the next one is answered when the server is back.
func TestReadsEndWhileNobodyIsThere(t *testing.T) {
	for what, away := range map[string]func(s *valkeytest.Server, door *valkeytest.Door){
		"refused": func(_ *valkeytest.Server, door *valkeytest.Door) { door.Lead("127.0.0.1:1") },
		"silent":  func(_ *valkeytest.Server, door *valkeytest.Door) { door.Hold(true) },
	} {
		t.Run(what, func(t *testing.T) {
			s := valkeytest.Start(t)
			door := valkeytest.NewDoor(t, s.Addr)
			e := open(t, 1, roamvalkey.Config{Addrs: []string{door.Addr}})
			k := bear(t, e)
			away(s, door)
			s.Do("CLIENT", "KILL", "TYPE", "normal")
			read := make(chan error, 1)
			go func() {
				_, err := e.Read(t.Context(), k, crdt.Token{})
				read <- err
			}()
			select {
			case err := <-read:
				if !errors.Is(err, engine.ErrUnavailable) {
					t.Errorf("Read = %v, want ErrUnavailable", err)
				}
			case <-time.After(10 * time.Second):
				t.Error("after ten seconds a read without a deadline is still waiting")
			}
			door.Hold(false)
			door.Lead(s.Addr)
			if r, err := e.Read(t.Context(), k, crdt.Token{}); err != nil || r.IsBottom() {
				t.Errorf("Read of the server as it is back = %v, %v", r, err)
			}
		})
	}
}
