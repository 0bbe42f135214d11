package relay

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server says its name before each line that it is sent.
func server(t *testing.T, name string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				for lines := bufio.NewScanner(c); lines.Scan(); {
					_, _ = fmt.Fprintf(c, "%s %s\n", name, lines.Text())
				}
			}()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

func listen(t *testing.T, target string) *Relay {
	t.Helper()
	r, err := Listen(t.Context(), "127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Lead(target)
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// A client sends lines and waits for the answer.
type client struct {
	net.Conn
	r *bufio.Reader
}

func dial(t *testing.T, r *Relay) client {
	t.Helper()
	c, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return client{c, bufio.NewReader(c)}
}

func (c client) ask(wait time.Duration, line string) string {
	_ = c.SetDeadline(time.Now().Add(wait))
	if line != "" {
		if _, err := fmt.Fprintln(c, line); err != nil {
			return "closed"
		}
	}
	got, err := c.r.ReadString('\n')
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return "silence"
	}
	if err != nil {
		return "closed"
	}
	return got[:len(got)-1]
}

func TestLead(t *testing.T) {
	r := listen(t, server(t, "a"))
	old := dial(t, r)
	if got := old.ask(time.Minute, "1"); got != "a 1" {
		t.Fatalf("got %q", got)
	}
	r.Lead(server(t, "b"))
	if got := dial(t, r).ask(time.Minute, "2"); got != "b 2" {
		t.Errorf("a new connection: %q, want b", got)
	}
	if got := old.ask(time.Minute, "3"); got != "a 3" {
		t.Errorf("an old connection: %q, want a as before", got)
	}
	r.Reset()
	if got := old.ask(time.Minute, "4"); got != "closed" {
		t.Errorf("reset: %q", got)
	}
	r.Lead("")
	if got := dial(t, r).ask(time.Minute, "5"); got != "closed" {
		t.Errorf("nowhere: %q", got)
	}
}

func TestPaths(t *testing.T) {
	r := listen(t, server(t, "a"))
	c := dial(t, r)
	c.ask(time.Minute, "0")
	r.SetPath(Path{Delay: 30 * time.Millisecond})
	begun := time.Now()
	if got := c.ask(time.Minute, "1"); got != "a 1" || time.Since(begun) < 60*time.Millisecond {
		t.Errorf("%q after %v, want 60 ms there and back", got, time.Since(begun))
	}
	r.SetPath(Path{Silent: true})
	fresh := dial(t, r)
	for _, c := range []client{c, fresh} {
		if got := c.ask(30*time.Millisecond, "2"); got != "silence" {
			t.Errorf("silent: %q", got)
		}
	}
	r.SetPath(Path{})
	for _, c := range []client{c, fresh} {
		if got := c.ask(time.Minute, ""); got != "a 2" {
			t.Errorf("well again: %q, want what was sent before", got)
		}
	}
	r.SetPath(Path{Closed: true})
	if got, again := c.ask(time.Minute, "3"), dial(t, r).ask(time.Minute, "3"); got != "closed" || again != "closed" {
		t.Errorf("closed: %q and %q", got, again)
	}
	r.SetPath(Path{})
	if got := dial(t, r).ask(time.Minute, "4"); got != "a 4" {
		t.Errorf("open again: %q", got)
	}
}

// Close ends connections that wait for a path to get well.
func TestCloseEndsSilence(t *testing.T) {
	r, err := Listen(t.Context(), "127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Lead(server(t, "a"))
	c := dial(t, r)
	c.ask(time.Minute, "1")
	r.SetPath(Path{Silent: true})
	_, _ = fmt.Fprintln(c, "2")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- r.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-ctx.Done():
		t.Fatal("Close waits for the path")
	}
}
