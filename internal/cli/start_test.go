package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"sync"
	"testing"
	"time"
)

// A running is a command that serves until it is interrupted.
type running struct {
	Shop, Console string // as printed with --json

	interrupt context.CancelFunc
	ended     chan int
	talk      *talk
}

// A talk keeps what a command tells people. Goroutines may share it.
type talk struct {
	mu   sync.Mutex // guards what follows
	text bytes.Buffer
}

func (k *talk) Write(b []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.text.Write(b)
}

func (k *talk) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.text.String()
}

// start runs the demo on any free ports until the test is over, as main would.
func start(t *testing.T, flags ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{interrupt: cancel, ended: make(chan int, 1), talk: &talk{}}
	out, in := io.Pipe()
	args := append([]string{"demo", "--json", "--shop", "127.0.0.1:0", "--console", "127.0.0.1:0"}, flags...)
	go func() {
		code := Run(ctx, args, in, r.talk)
		_ = in.Close() // a pipe's end never fails to close
		r.ended <- code
	}()
	t.Cleanup(func() {
		cancel()
		r.ended <- <-r.ended // whoever waited has put it back
	})
	if err := json.NewDecoder(out).Decode(r); err != nil {
		t.Fatalf("roam %q printed no addresses: %v; it said: %s", args, err, r.talk)
	}
	return r
}

// end interrupts the command and wants it to end well and soon.
func (r *running) end(t *testing.T) {
	t.Helper()
	begun := time.Now()
	r.interrupt()
	code := <-r.ended
	r.ended <- code
	if took := time.Since(begun); code != exitOK || took > endTime {
		t.Errorf("interrupted, the demo ended with %d after %v, want %d within %v; it said: %s", code, took, exitOK, endTime, r.talk)
	}
}
