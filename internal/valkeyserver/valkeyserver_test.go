//go:build integration

package valkeyserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// childEnv makes this program start a server, say its process ID and wait.
const childEnv = "ROAM_TEST_SERVER_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		child()
	}
	goleak.VerifyTestMain(m)
}

func child() {
	p, err := Find(context.Background())
	if err == nil {
		var s *Server
		if s, err = Start(context.Background(), p, Config{}); err == nil {
			fmt.Println(s.Pid(), s.dir)
			select {}
		}
	}
	fmt.Println(err)
	os.Exit(1)
}

func program(t *testing.T) Program {
	t.Helper()
	p, err := Find(t.Context())
	if err == nil {
		return p
	}
	if os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	t.Skipf("NOT TESTED on a real server: %v", err)
	return p
}

func start(t *testing.T, c Config) *Server {
	t.Helper()
	s, err := Start(t.Context(), program(t), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// there reports whether a process is there.
func there(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// soon waits for something for ten seconds.
func soon(t *testing.T, what string, is func() bool) {
	t.Helper()
	for begun := time.Now(); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) > 10*time.Second {
			t.Fatalf("after 10 s: %s", what)
		}
	}
}

func do(t *testing.T, s *Server, args ...string) string {
	t.Helper()
	reply, err := s.Do(t.Context(), args...)
	if err != nil {
		t.Fatalf("%v = %v", args, err)
	}
	return reply
}

func TestServerLives(t *testing.T) {
	s := start(t, Config{})
	do(t, s, "SET", "k", "v")
	info := do(t, s, "INFO")
	for _, want := range []string{"maxmemory_policy:noeviction", "maxmemory_human:256.00M", "rdb_saves:0", "aof_enabled:0"} {
		if !strings.Contains(info, want+"\r\n") {
			t.Errorf("INFO lacks %s", want)
		}
	}
	pid, addr := s.Pid(), s.Addr()
	if !there(pid) || !strings.HasPrefix(addr, "127.0.0.1:") || s.Port() == "" {
		t.Errorf("process %d at %s, want one on loopback", pid, addr)
	}
	s.Kill()
	s.Kill() // does nothing
	<-s.Ended()
	if there(pid) {
		t.Errorf("killed, process %d is there", pid)
	}
	if _, err := s.Do(t.Context(), "PING"); err == nil {
		t.Error("killed, it answers")
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := do(t, s, "GET", "k"); got != "" || s.Addr() != addr || s.Pid() == pid {
		t.Errorf("started again: k is %q at %s, process %d, want nothing at %s and another", got, s.Addr(), s.Pid(), addr)
	}
	if err := s.Restart(t.Context(), "--maxmemory", "64mb"); err != nil {
		t.Fatal(err)
	}
	if info := do(t, s, "INFO", "memory"); !strings.Contains(info, "maxmemory_human:64.00M") {
		t.Error("started again with another maxmemory, it has the old one")
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.dir); !os.IsNotExist(err) {
		t.Errorf("stopped, its directory: %v, want none", err)
	}
}

// What fails to start says why and leaves nothing.
func TestStartFails(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s := start(t, Config{})
	for name, c := range map[string]struct {
		ended  bool // the context
		config Config
		want   string
	}{
		"a port that is taken":        {false, Config{Port: s.Port()}, "in use"},
		"an argument that is none":    {false, Config{Args: []string{"--no-such-thing", "1"}}, "no-such-thing"},
		"a context that ended before": {true, Config{}, "context canceled"},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		if c.ended {
			cancel()
		}
		got, err := Start(ctx, program(t), c.config)
		cancel()
		if err == nil {
			_ = got.Stop() // the error is wanted
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Start = %v, want an error with %q", name, err, c.want)
		}
	}
	if left := leftovers(t); len(left) != 1 || left[0] != s.dir {
		t.Errorf("left behind: %q, want %s alone", left, s.dir)
	}
}

func leftovers(t *testing.T) []string {
	t.Helper()
	out, err := filepath.Glob(filepath.Join(os.TempDir(), "roam-valkey-*"))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A context that ends during the start takes the process with it. The server here
// never answers: it waits for a primary that is not there before it opens its port.
func TestContextEndsDuringStart(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dir, pids := t.TempDir(), filepath.Join(t.TempDir(), "pid")
	silent := filepath.Join(dir, "valkey-server")
	script := "#!/bin/sh\necho $$ > " + pids + "\necho waiting\nexec sleep 600\n"
	if err := os.WriteFile(silent, []byte(script), 0o700); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := Start(ctx, Program{Path: silent, Name: "Valkey", Version: "0"}, Config{})
		done <- err
	}()
	var pid int
	soon(t, "it has not begun", func() bool {
		text, _ := os.ReadFile(pids)
		pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		return pid > 0
	})
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "its log ends: waiting") {
		t.Errorf("Start = %v, want that the context ended, and the log", err)
	}
	if there(pid) || len(leftovers(t)) > 0 {
		t.Errorf("process %d is there: %v; directories: %q; want nothing", pid, there(pid), leftovers(t))
	}
}

// A server ends with whoever started it, be that killed.
func TestServerEndsWithItsStarter(t *testing.T) {
	program(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self) //nolint:gosec // this test
	cmd.Env = append(os.Environ(), childEnv+"=1", "TMPDIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(line, &pid); err != nil {
		t.Fatalf("the child said %q", line)
	}
	if !there(pid) {
		t.Fatalf("process %d is not there", pid)
	}
	_ = cmd.Process.Kill() // it is there
	_ = cmd.Wait()         // killed
	soon(t, "the server outlives its starter", func() bool { return !there(pid) })
}
