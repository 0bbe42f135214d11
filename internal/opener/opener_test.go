package opener

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/enginetest"
	"github.com/roam-sessions/roam/engine/memory"
	"github.com/roam-sessions/roam/internal/topology"
)

// A goroutine of valkey-go that looks for a lost server sleeps for up to a second
// after its client was closed.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valkey-io/valkey-go.(*call).DelayDo.func1"))
}

func inMemory(here crdt.Region) (engine.Engine, error) {
	return Open(context.Background(), here, topology.Engine{Memory: &topology.Memory{}}, Config{})
}

// A Lazy that is open keeps every promise of its engine, and has its powers.
func TestLazyKeepsPromises(t *testing.T) {
	enginetest.Run(t, func(t *testing.T, here crdt.Region) engine.Engine {
		l := NewLazy(t.Context(), "open it", Retry{}, func(context.Context) (engine.Engine, error) { return inMemory(here) })
		t.Cleanup(func() { _ = l.Close() }) // of an engine in memory, never fails
		<-l.Opened()
		if _, ok := engine.As[engine.Log](l); !ok {
			t.Error("the log of the engine is not to be had")
		}
		return l
	}, enginetest.Options{})
}

// Until it is open every call fails at once as one that was never sent, with the
// reason; then it goes to the engine.
func TestLazyBeforeItIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(30 * 365 * 24 * time.Hour) // to where stamps are
		reason := engine.ErrUnavailable       // of which a call must not look as if it had got there
		tries, begun := 0, time.Now()
		l := NewLazy(t.Context(), "open it", Retry{}, func(context.Context) (engine.Engine, error) {
			if tries++; time.Since(begun) < time.Minute {
				return nil, reason
			}
			return inMemory(1)
		})
		synctest.Wait()
		if engine.As[engine.Log](l); l.Unwrap() != nil {
			t.Errorf("Unwrap = %v before it is open", l.Unwrap())
		}
		k, op := crdt.UserKey("ann"), crdt.Op{Stamp: crdt.TimeOf(time.Now()).Stamp(), Revoke: true}
		_, read := l.Read(t.Context(), k, crdt.Token{})
		_, applied := l.Apply(t.Context(), k, op)
		for name, err := range map[string]error{"Read": read, "Apply": applied, "Join": l.Join(t.Context(), crdt.Record{Key: k}), "Err": l.Err()} {
			if !errors.Is(err, engine.ErrUnreachable) || engine.Answered(err) || !engine.OutcomeKnown(err) || !strings.Contains(err.Error(), reason.Error()) {
				t.Errorf("%s before it is open = %v, want ErrUnreachable and why, and nothing written", name, err)
			}
		}
		time.Sleep(time.Minute + 6*time.Second) // the longest wait, and a little
		if _, err := l.Apply(t.Context(), k, op); err != nil || l.Err() != nil {
			t.Errorf("Apply when it is open = %v, Err %v; want nil", err, l.Err())
		}
		// 100 ms doubling to 5 s, and half of that may be jitter: 12 to 30 tries.
		if tries < 10 || tries > 40 {
			t.Errorf("in a minute it was tried %d times, want some 20", tries)
		}
		if err := errors.Join(l.Close(), l.Close()); err != nil {
			t.Errorf("Close = %v, want nil", err)
		}
		if _, err := l.Read(t.Context(), k, crdt.Token{}); !errors.Is(err, engine.ErrClosed) {
			t.Errorf("Read after Close = %v, want ErrClosed", err)
		}
	})
}

// Close ends the tries, also one that is under way.
func TestLazyClosesWhileOpening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLazy(t.Context(), "open it", Retry{}, func(ctx context.Context) (engine.Engine, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		synctest.Wait()
		if err := l.Close(); err != nil {
			t.Errorf("Close = %v, want nil", err)
		}
		if err := l.Err(); !errors.Is(err, engine.ErrClosed) {
			t.Errorf("Err after Close = %v, want ErrClosed", err)
		}
	})
}

// The log hears of a reason once.
func TestRetrySaysAReasonOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		n, told := 0, 0
		r := Retry{Log: slog.New(slog.NewTextHandler(&said, nil))}
		r.Do(t.Context(), "do it", func(error) { told++ }, func() error {
			if n++; n < 5 {
				return errors.New("first reason")
			} else if n < 9 {
				return errors.New("second reason")
			}
			return nil
		})
		if lines := strings.Count(said.String(), "\n"); lines != 2 || told != 8 {
			t.Errorf("two reasons, eight failures: %d lines, %d told:\n%s", lines, told, &said)
		}
	})
}

// While the primary is away nothing has been heard, and it says why.
func TestNewsBeforeThePrimaryIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := errors.New("the primary is away")
		var open atomic.Bool
		primary := NewLazy(t.Context(), "open it", Retry{}, func(context.Context) (engine.Engine, error) {
			if !open.Load() {
				return nil, away
			}
			return inMemory(1)
		})
		here, err := inMemory(2)
		if err != nil {
			t.Fatal(err)
		}
		n := Follow(t.Context(), primary, here, time.Second)
		synctest.Wait()
		if age, ok := n.Heard(1); ok || n.Lag(1) != 0 || n.Everywhere(crdt.Dot{Actor: 1}) {
			t.Errorf("Heard = %v, %t, Lag %v before the primary is open; want nothing", age, ok, n.Lag(1))
		}
		if err := n.Err(); err == nil || !strings.Contains(err.Error(), away.Error()) {
			t.Errorf("Err = %v, want %v", err, away)
		}
		open.Store(true)
		time.Sleep(10 * time.Second)
		if err := n.Err(); !errors.Is(err, errNoServer) {
			t.Errorf("Err of engines in memory = %v, want errNoServer", err)
		}
		if err := errors.Join(n.Close(), primary.Close(), here.Close()); err != nil {
			t.Errorf("Close = %v, want nil", err)
		}
	})
}

func TestOpenInMemory(t *testing.T) {
	e, err := Open(t.Context(), 1, topology.Engine{Memory: &topology.Memory{MaxBytes: 1 << 20}}, Config{Secondary: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }() // never fails
	m, ok := engine.As[*memory.Engine](e)
	if !ok || m.Stats().MaxBytes != 1<<20 {
		t.Errorf("Open = %T, want an engine in memory of 1 MiB", e)
	}
	op := crdt.Op{Stamp: crdt.TimeOf(time.Now()).Stamp(), Revoke: true}
	if _, err := e.Apply(t.Context(), crdt.UserKey("ann"), op); !errors.Is(err, engine.ErrNotPrimary) {
		t.Errorf("Apply in a secondary = %v, want ErrNotPrimary", err)
	}
	if e, err := Open(t.Context(), 0, topology.Engine{Memory: &topology.Memory{}}, Config{}); err == nil || e != nil {
		t.Errorf("Open of Region 0 = %v, %v; want nil and a fault", e, err)
	}
}

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "roam.yaml")
	text := "version: 1\ntopology: active-active\nregions: [{name: a, id: 1, engine: {valkey: {addrs: [\"127.0.0.1:1\"], password_file: pw}}}]\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := ReadFile(path)
	if err != nil || d.Regions[0].Engine.Valkey.PasswordFile != filepath.Join(dir, "pw") {
		t.Errorf("ReadFile = %+v, %v; want a path beside the file", d, err)
	}
	if _, err := ReadFile(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("ReadFile of no file = %v, want ErrNotExist", err)
	}
	if err := os.WriteFile(path, bytes.Repeat([]byte("#"), 3<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	var faults topology.Faults
	if _, err := ReadFile(path); !errors.As(err, &faults) {
		t.Errorf("ReadFile of 3 MiB = %v, want Faults", err)
	}
}

// What the file names is read, and what can't be is told without any secret.
func TestValkeyConfig(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	none := filepath.Join(dir, "none")
	env := func(name string) string { return map[string]string{"PW": "hunter2"}[name] }
	for name, c := range map[string]struct {
		v    topology.Valkey
		want string // password, or what the error says
		ok   bool
	}{
		"no password":        {topology.Valkey{}, "", true},
		"file":               {topology.Valkey{PasswordFile: write("pw", "hunter2\r\n")}, "hunter2", true},
		"variable":           {topology.Valkey{PasswordEnv: "PW"}, "hunter2", true},
		"no file":            {topology.Valkey{PasswordFile: none}, "read the password", false},
		"too long":           {topology.Valkey{PasswordFile: write("long", strings.Repeat("hunter2", 1<<18))}, "more than 1048576 bytes", false},
		"no variable":        {topology.Valkey{PasswordEnv: "NONE"}, "NONE is empty or not set", false},
		"no authority":       {topology.Valkey{TLS: &topology.ServerTLS{CA: none}}, "read the authority", false},
		"broken authority":   {topology.Valkey{TLS: &topology.ServerTLS{CA: write("ca", "hunter2")}}, "holds no certificate", false},
		"broken certificate": {topology.Valkey{TLS: &topology.ServerTLS{Cert: write("cert", "hunter2"), Key: none}}, "certificate for the engine", false},
	} {
		got, err := ValkeyConfig(&c.v, env)
		if c.ok && (err != nil || got.Password != c.want) {
			t.Errorf("%s: %q, %v; want %q", name, got.Password, err, c.want)
		}
		if !c.ok && (err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s: %v, want an error that says %q", name, err, c.want)
		}
	}
}
