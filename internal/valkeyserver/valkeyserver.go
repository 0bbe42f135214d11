package valkeyserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/roam-sessions/roam/internal/freeport"
)

const (
	// startTimeout is how long a server may take until it answers: an empty one takes
	// 20 ms, on a machine that is busy with everything else a second or two.
	startTimeout = 20 * time.Second
	// startTries is how often a free port is drawn that somebody else may take first.
	startTries = 5
	// askEvery is between two looks at whether it answers.
	askEvery = 2 * time.Millisecond
	// toldLines is how many of the log's last lines an error tells.
	toldLines = 5
	// maxMemory is what a server may use unless Config says otherwise: a demo's
	// sessions take some kilobytes. It is a bound, and nothing is taken in advance.
	maxMemory = "256mb"
)

// A Config is what a Server may be told. Its zero value is good.
type Config struct {
	// Port is where it listens on 127.0.0.1. Default: one that is free.
	Port string
	// Args are more arguments, as on its command line. They win over those that
	// Start gives.
	Args []string
}

// A Server is a server process on loopback. It may be used by many goroutines.
type Server struct {
	program Program
	args    []string
	port    string
	dir     string // of its log, and of what it would write; its own

	mu   sync.Mutex // guards what follows
	life *life      // of the process there is or was last; nil: it never ran
}

// A life is one process.
type life struct {
	process *os.Process
	ended   chan struct{} // closed when it is gone
}

// Start starts a server and returns when it answers. Ctx bounds the start alone: end
// the server with Stop. If Start fails nothing is left behind, and the error tells the
// last lines of the server's log.
func Start(ctx context.Context, p Program, c Config) (*Server, error) {
	dir, err := os.MkdirTemp("", "roam-valkey-")
	if err != nil {
		return nil, fmt.Errorf("start a server: %w", err)
	}
	s := &Server{program: p, args: c.Args, dir: dir}
	for range startTries {
		if s.port = c.Port; s.port == "" {
			if s.port, err = freeport.Port(ctx); err != nil {
				break
			}
		}
		err = s.start(ctx)
		if err == nil {
			return s, nil
		}
		if c.Port != "" || ctx.Err() != nil || !strings.Contains(err.Error(), "in use") {
			break
		}
	}
	return nil, errors.Join(fmt.Errorf("start a server: %w", err), os.RemoveAll(dir))
}

// Program returns what runs.
func (s *Server) Program() Program { return s.program }

// Addr returns host:port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", s.port) }

// Port returns the port of Addr.
func (s *Server) Port() string { return s.port }

// Pid returns the process's ID; 0 if it never ran.
func (s *Server) Pid() int {
	if l := s.now(); l != nil {
		return l.process.Pid
	}
	return 0
}

// Ended returns a channel that is closed once the process that runs now is gone.
func (s *Server) Ended() <-chan struct{} {
	if l := s.now(); l != nil {
		return l.ended
	}
	none := make(chan struct{})
	close(none)
	return none
}

func (s *Server) now() *life {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.life
}

// Restart kills the server, if it runs, and starts it again at the same address, empty.
// More arguments may be given, for this start alone. It fails as Start does; the server
// can be restarted again then.
func (s *Server) Restart(ctx context.Context, args ...string) error {
	s.Kill()
	if err := s.start(ctx, args...); err != nil {
		return fmt.Errorf("start the server at %s again: %w", s.Addr(), err)
	}
	return nil
}

// start starts the process and returns when it answers. If it fails the process is gone.
func (s *Server) start(ctx context.Context, more ...string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("no answer in %v", startTimeout))
	defer cancel()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	log := filepath.Join(s.dir, "log")
	l, err := s.spawn(log, more)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.life = l
	s.mu.Unlock()
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for err == nil {
		select {
		case <-tick.C:
			if s.answers(ctx, l) {
				return nil
			}
		case <-l.ended:
			err = errors.New("it ended at once")
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	s.Kill()
	return fmt.Errorf("%v: %w; its log ends: %s", s.program, err, lastLines(log))
}

// spawn starts the process and sees to it that its end is noticed.
func (s *Server) spawn(log string, more []string) (*life, error) {
	out, err := os.Create(log) //nolint:gosec // in a directory of our own
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }() // the process has its own
	args := append([]string{
		"--port", s.port, "--bind", "127.0.0.1", "--dir", s.dir, "--daemonize", "no",
		"--save", "", "--appendonly", "no", // nothing is kept
		"--maxmemory", maxMemory, "--maxmemory-policy", "noeviction", "--hash-max-listpack-value", "1024",
	}, s.args...)
	cmd := exec.Command(s.program.Path, append(args, more...)...) //nolint:gosec,noctx // Kill ends it, and the end of this process
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = out, out, ownProcess()
	begun, ended := make(chan error), make(chan struct{})
	go func() {
		defer close(ended)
		// The kernel ends the server when this thread ends, so the thread must last.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		begun <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
		}
	}()
	if err := <-begun; err != nil {
		return nil, err
	}
	return &life{process: cmd.Process, ended: ended}, nil
}

// answers reports whether the process answers and has read what is on its disk, or wants a
// password. What answers at its address may be another one, which had the port before.
func (s *Server) answers(ctx context.Context, l *life) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	info, err := s.Do(ctx, "INFO")
	refusal, ok := errors.AsType[Refusal](err)
	if ok && strings.HasPrefix(string(refusal), "NOAUTH") {
		return true
	}
	return strings.Contains(info, fmt.Sprintf("process_id:%d\r", l.process.Pid)) && strings.Contains(info, "\nloading:0\r")
}

// Kill ends the process at once, as a crash does, and returns when it is gone. Killing
// again does nothing.
func (s *Server) Kill() {
	if l := s.now(); l != nil {
		_ = l.process.Kill() // it may have ended by itself
		<-l.ended
	}
}

// Stop kills the server and takes away its directory. It can't be started again.
func (s *Server) Stop() error {
	s.Kill()
	if err := os.RemoveAll(s.dir); err != nil {
		return fmt.Errorf("stop the server at %s: %w", s.Addr(), err)
	}
	return nil
}

// lastLines returns how a log ends, in one line.
func lastLines(path string) string {
	text, err := os.ReadFile(path) //nolint:gosec // in a directory of our own
	if err != nil {
		return err.Error()
	}
	if len(text) == 0 {
		return "(empty)"
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-toldLines):], " | ")
}
