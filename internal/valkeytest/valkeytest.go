//go:build integration

package valkeytest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	// startTimeout is how long a server may take until it answers.
	startTimeout = 20 * time.Second
	// startTries is how often a port is drawn that somebody else may take first.
	startTries = 5
)

// A Server is a server process on loopback that ends with its test. Its methods end
// the test where they fail.
type Server struct {
	// Addr is host:port.
	Addr string

	t       testing.TB
	program string
	args    []string
	dir     string
	cmd     *exec.Cmd
	done    chan struct{} // closed when the process has ended
}

// program returns the path of the first of some programs that is there. Without any,
// the test fails where CI=true, and is skipped elsewhere.
func program(t testing.TB, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("no %s on the PATH: run ./scripts/install-test-deps.sh", names[0])
	}
	t.Skipf("NOT TESTED on a real server: no %s on the PATH; run ./scripts/install-test-deps.sh", names[0])
	return ""
}

// Start starts a server that keeps nothing on disk, with args as on its command line:
// Valkey, or Redis where there is none.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return begin(t, []string{"valkey-server", "redis-server"}, args)
}

// StartRedis starts a Redis server as Start does.
func StartRedis(t testing.TB, args ...string) *Server {
	t.Helper()
	return begin(t, []string{"redis-server"}, args)
}

func begin(t testing.TB, names, args []string) *Server {
	t.Helper()
	s := &Server{t: t, program: program(t, names...), args: args, dir: t.TempDir()}
	var err error
	for range startTries {
		s.Addr = freeAddr(t)
		if err = s.start(); err == nil {
			t.Cleanup(s.Kill)
			return s
		}
	}
	t.Fatalf("start a server: %v", err)
	return nil
}

// freeAddr returns a port that nobody has at this moment.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen for a free port: %v", err)
	}
	defer func() { _ = l.Close() }() // nothing was sent
	return l.Addr().String()
}

func (s *Server) start() error {
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return err
	}
	out, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }() // the process has its own
	args := append([]string{
		"--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", s.dir,
		"--daemonize", "no", "--maxmemory-policy", "noeviction", "--hash-max-listpack-value", "1024",
	}, s.args...)
	s.cmd = exec.Command(s.program, args...) //nolint:gosec,noctx // a test's own server; Kill ends it
	s.cmd.Stdout, s.cmd.Stderr = out, out
	if err := s.cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	go func(cmd *exec.Cmd) {
		_ = cmd.Wait() // how it ended is in its log
		close(done)
	}(s.cmd)
	s.done = done
	ctx, cancel := context.WithTimeout(s.t.Context(), startTimeout)
	defer cancel()
	for {
		if s.answers(ctx) {
			return nil
		}
		select {
		case <-done:
			log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			return fmt.Errorf("the server ended at once: %s", lastLines(string(log)))
		case <-ctx.Done():
			s.Kill()
			return fmt.Errorf("the server did not answer in %v", startTimeout)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// answers reports whether the server says anything to PING, be it that it wants a
// password.
func (s *Server) answers(ctx context.Context) bool {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", s.Addr)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }() // nothing is to be kept
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return err == nil && (line[0] == '+' || strings.HasPrefix(line, "-NOAUTH"))
}

func lastLines(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], " | ")
}

// Kill ends the process at once, as a crash does. Killing again does nothing.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill() // it may have ended by itself
	<-s.done
}

// Restart starts the server again after Kill, at the same address and empty.
func (s *Server) Restart() {
	s.t.Helper()
	if err := s.start(); err != nil {
		s.t.Fatalf("start the server again: %v", err)
	}
}

// Port returns the port of Addr.
func (s *Server) Port() string {
	_, port, _ := net.SplitHostPort(s.Addr) // freeAddr made it
	return port
}
