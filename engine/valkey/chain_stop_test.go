//go:build integration

package valkey

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

// slowLibrary is the library with a write that takes 400 ms of the server's time, after
// it has looked at the lease.
func slowLibrary(t *testing.T) string {
	t.Helper()
	const before = "  local prev, at, top = heard(a, actor)\n  local stamp = max(now * 4096"
	if n := strings.Count(library(), before); n != 1 {
		t.Fatalf("the library has %d times %q, want one", n, before)
	}
	spin := "  if string.find(op, 'slow', 1, true) then local c = os.clock() while os.clock() - c < 0.4 do end end\n"
	return strings.Replace(library(), before, spin+before, 1)
}

// openPatient is openLeased with a client that waits for a server that hangs.
func openPatient(t *testing.T, addr string) *leased {
	t.Helper()
	l := openLeased(t, addr)
	option := l.option()
	option.ConnWriteTimeout, option.Dialer.Timeout = 10*time.Second, 10*time.Second // it may have to connect
	client, err := valkey.NewClient(option)
	if err != nil {
		t.Fatal(err)
	}
	(*l.link.now.Swap(&client)).Close()
	return l
}

// begin begins to write a field of a session.
func (l *leased) begin(k crdt.Key, wait time.Duration, field string) <-chan error {
	answer := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(l.t.Context(), wait)
		defer cancel()
		op := crdt.Op{Stamp: crdt.TimeOf(time.Now()).Stamp(), Changes: []crdt.Change{crdt.Put(field, nil)}}
		_, err := l.Apply(ctx, k, op)
		answer <- err
	}()
	return answer
}

// wantFields reports what a session has other than the fields given, among some.
func (l *leased) wantFields(k crdt.Key, want string, among ...string) {
	l.t.Helper()
	r, err := l.Read(l.t.Context(), k, crdt.Token{})
	if err != nil {
		l.t.Fatalf("Read: %v", err)
	}
	for _, name := range among {
		if _, has := r.Value(name); has != (name == want) {
			l.t.Errorf("the server of epoch %d has %q: %v, want only %q", l.epoch.Load(), name, has, want)
		}
	}
}

// A server stops in the middle of a write, its lease ends, and another one takes over.
// When it goes on it ends that one call, which nobody waits for any more, and takes
// nothing else, whatever had come to it meanwhile (DESIGN R5).
func TestServerThatStopsInTheMiddleOfAWrite(t *testing.T) {
	a, b := valkeytest.Start(t, "--repl-diskless-sync-delay", "0"), valkeytest.Start(t)
	one, other := openLeased(t, a.Addr), openPatient(t, a.Addr)
	if err := one.client().Do(t.Context(), one.client().B().FunctionLoad().Replace().FunctionCode(slowLibrary(t)).Build()).Error(); err != nil {
		t.Fatalf("FUNCTION LOAD: %v", err)
	}
	b.Do("REPLICAOF", "127.0.0.1", a.Port())
	valkeytest.InStep(t, a, b)
	pid, err := strconv.Atoi(infoText(a.Do("INFO", "server"), "process_id"))
	if err != nil {
		t.Fatal(err)
	}
	const lasts = time.Second
	one.Under(1)
	other.Under(1)
	one.grant(1, lasts)
	began := time.Now()
	one.wantWritten("under the lease")
	valkeytest.InStep(t, a, b)

	slow := one.begin(one.key, 300*time.Millisecond, "slow")
	time.Sleep(100 * time.Millisecond) // it is in the script
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }() // it may go on already
	later := other.begin(one.key, 10*time.Second, "later")
	if err := <-slow; !errors.Is(err, engine.ErrUnavailable) {
		t.Errorf("the write of a server that stops = %v, want ErrUnavailable", err)
	}

	time.Sleep(time.Until(began.Add(lasts)))
	b.Do("REPLICAOF", "NO", "ONE")
	two := openLeased(t, b.Addr)
	two.Under(2)
	two.grant(2, maxLease)
	if err := <-two.begin(one.key, time.Second, "next"); err != nil {
		t.Errorf("a write at the next primary = %v", err)
	}
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := <-later; !errors.Is(err, engine.ErrNotPrimary) {
		t.Errorf("a write that waited for the server to go on = %v, want ErrNotPrimary", err)
	}
	one.wantFenced("at the server that went on")
	one.wantFields(one.key, "slow", "slow", "later", "next")
	two.wantFields(one.key, "next", "slow", "later", "next")
}
