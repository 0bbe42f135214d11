package postgresserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/roam-sessions/roam/internal/freeport"
)

const (
	// startMost is how long a server may take to answer; one that was killed recovers.
	startMost = 30 * time.Second
	// startAgain is between two looks whether it does.
	startAgain = 20 * time.Millisecond
	// stopMost is how long it may take to end before it is killed.
	stopMost = 10 * time.Second
)

// Config is what a server may be told.
type Config struct {
	// Settings are such as "max_connections=20".
	Settings []string
	// Follows, if set, is what the server is a standby of. Default: it is a primary.
	Follows *Server
}

// A Server is one that was started. It is used by one goroutine at a time.
type Server struct {
	program Program
	config  Config
	dir     string
	port    string
	as      *account // nil: as we are

	cmd   *exec.Cmd // nil: it is not running
	ended chan struct{}
	said  bytes.Buffer
}

// Start starts a server and returns when it answers; a standby, when it has what the server
// that it follows has. Ctx bounds that alone: the server runs until it is stopped.
func Start(ctx context.Context, p Program, c Config) (*Server, error) {
	dir, err := os.MkdirTemp("", "roam-postgres-")
	if err != nil {
		return nil, err
	}
	s := &Server{program: p, config: c, dir: dir}
	if s.as, err = unprivileged(); err == nil && s.as != nil {
		err = os.Chown(dir, int(s.as.uid), int(s.as.gid))
	}
	if err == nil {
		err = s.makeData(ctx)
	}
	if err == nil {
		s.port, err = freeport.Port(ctx)
	}
	if err == nil {
		err = s.Restart(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) makeData(ctx context.Context) error {
	if from := s.config.Follows; from != nil {
		return s.run(ctx, "pg_basebackup", "-D", s.data(), "-R", "-X", "stream", "-c", "fast", "--no-sync", "-d",
			"postgres://roam@"+from.Addr()+"/?sslmode=disable")
	}
	return s.run(ctx, "initdb", "-D", s.data(), "-U", "roam", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")
}

// run runs one of the server's programs.
func (s *Server) run(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(s.program.Dir, name), args...) //nolint:gosec // programs of the server
	cmd.SysProcAttr, cmd.Dir = ownProcess(s.as), s.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}

// Restart starts the server again after Kill or Shut, at the same address and with what it
// had, and returns when it answers.
func (s *Server) Restart(ctx context.Context) error {
	args := []string{"-D", s.data(), "-c", "port=" + s.port}
	for _, setting := range append([]string{
		"listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "max_connections=200",
		"shared_buffers=32MB", "autovacuum_naptime=5s", "logging_collector=off", "log_min_messages=fatal",
	}, s.config.Settings...) {
		args = append(args, "-c", setting)
	}
	s.said.Reset()
	cmd := exec.CommandContext(context.WithoutCancel(ctx), filepath.Join(s.program.Dir, "postgres"), args...) //nolint:gosec // programs of the server
	cmd.SysProcAttr = ownProcess(s.as)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, &s.said, &s.said
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	s.cmd, s.ended = cmd, make(chan struct{})
	go func(ended chan struct{}) {
		_ = cmd.Wait() // how it ended is told by what it said
		close(ended)
	}(s.ended)
	return s.answers(ctx)
}

// answers waits until the server does.
func (s *Server) answers(ctx context.Context) error {
	for begun := time.Now(); ; {
		conn, err := pgx.Connect(ctx, s.DSN())
		if err == nil {
			return conn.Close(ctx)
		}
		again := time.NewTimer(startAgain)
		select {
		case <-s.ended:
			again.Stop()
			s.cmd = nil
			return fmt.Errorf("postgres ended:\n%s", s.said.String())
		case <-ctx.Done():
			again.Stop()
			s.Kill()
			return ctx.Err()
		case <-again.C:
		}
		if time.Since(begun) > startMost {
			s.Kill()
			return fmt.Errorf("postgres does not answer: %w\n%s", err, s.said.String())
		}
	}
}

// Addr returns host:port.
func (s *Server) Addr() string { return "127.0.0.1:" + s.port }

// DSN returns how to connect as who owns everything.
func (s *Server) DSN() string { return "postgres://roam@" + s.Addr() + "/postgres?sslmode=disable" }

// Kill ends the server as a crash does: it has to recover when it is started again. One
// that has ended is left alone.
func (s *Server) Kill() { s.end(syscall.SIGQUIT) }

// Shut ends the server as who maintains it does: transactions under way are undone, and
// those who are connected are told.
func (s *Server) Shut() { s.end(syscall.SIGINT) }

func (s *Server) end(how syscall.Signal) {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(how) // it may have ended
	late := time.NewTimer(stopMost)
	defer late.Stop()
	select {
	case <-s.ended:
	case <-late.C:
		_ = s.cmd.Process.Kill()
		<-s.ended
	}
	s.cmd = nil
}

// Stop ends the server and takes away what it kept. Again, it does nothing.
func (s *Server) Stop() error {
	s.Kill()
	return os.RemoveAll(s.dir)
}
