//go:build integration

package postgrestest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// leastVersion is the first version that engine/postgres is for.
	leastVersion = 15
	// startMost is how long a server may take to answer; one that was killed recovers.
	startMost = 30 * time.Second
	// stopMost is how long it may take to end before it is killed.
	stopMost = 10 * time.Second
)

// A Server is a PostgreSQL server on loopback, with its data in a temporary folder and
// nothing written through to the disk.
type Server struct {
	dir, bin string
	port     string
	settings []string
	as       *syscall.Credential // nil: as we are

	cmd   *exec.Cmd
	ended chan struct{}
	said  bytes.Buffer
}

// Start starts a server that ends with t, with settings such as "max_connections=20".
// Where there is none to start, the test fails where CI=true, and is skipped elsewhere.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	s := Use(t, func() (*Server, error) { return begin(t.Context(), settings) })
	t.Cleanup(s.Remove)
	return s
}

// Begin starts a server for all tests of a package, which lives until it is removed.
func Begin(ctx context.Context) (*Server, error) { return begin(ctx, nil) }

// Use returns the server that begin started. Where there was none to start, the test fails
// where CI=true, and is skipped elsewhere.
func Use(t testing.TB, begin func() (*Server, error)) *Server {
	t.Helper()
	s, err := begin()
	switch {
	case errors.Is(err, errMissing) && os.Getenv("CI") == "true":
		t.Fatalf("run ./scripts/install-test-deps.sh: %v", err)
	case errors.Is(err, errMissing):
		t.Skipf("NOT TESTED on a real server; run ./scripts/install-test-deps.sh: %v", err)
	case err != nil:
		t.Fatal(err)
	}
	return s
}

var errMissing = errors.New("no PostgreSQL server on this machine")

// find returns the folder of the server's programs.
func find() (string, error) {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // where Debian has them, on no PATH
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			dirs = append([]string{filepath.Dir(path)}, dirs...)
		}
	}
	for _, dir := range dirs {
		out, err := exec.Command(filepath.Join(dir, "postgres"), "--version").Output() //nolint:gosec,noctx // it was found by a name of ours
		fields := strings.Fields(string(out))
		if err != nil || len(fields) < 3 {
			continue
		}
		major, _, _ := strings.Cut(fields[2], ".")
		if n, err := strconv.Atoi(major); err == nil && n >= leastVersion {
			return dir, nil
		}
	}
	return "", fmt.Errorf("%w: looked for postgres on the PATH and in %v, version %d or later", errMissing, dirs, leastVersion)
}

func begin(ctx context.Context, settings []string) (*Server, error) {
	bin, err := find()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "roam-postgres-") // not t.TempDir: another user has to get in
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, bin: bin, settings: settings}
	if s.as, err = unprivileged(); err == nil && s.as != nil {
		err = os.Chown(dir, int(s.as.Uid), int(s.as.Gid))
	}
	if err == nil {
		err = s.makeData(ctx)
	}
	if err == nil {
		s.port, err = freePort(ctx)
	}
	if err == nil {
		err = s.Start(ctx)
	}
	if err != nil {
		s.Remove()
		return nil, err
	}
	return s, nil
}

// StartStandby starts a server that follows another one, and returns it once it has what
// that has. It ends with t.
func StartStandby(t testing.TB, primary *Server, settings ...string) *Server {
	t.Helper()
	ctx := t.Context()
	s := &Server{bin: primary.bin, as: primary.as, settings: settings}
	var err error
	if s.dir, err = os.MkdirTemp("", "roam-postgres-"); err == nil && s.as != nil {
		err = os.Chown(s.dir, int(s.as.Uid), int(s.as.Gid))
	}
	t.Cleanup(s.Remove)
	if err == nil {
		err = s.program(ctx, "pg_basebackup", "-D", s.data(), "-R", "-X", "stream", "-c", "fast", "--no-sync", "-d",
			"postgres://roam@"+primary.Addr()+"/?sslmode=disable")
	}
	if err == nil {
		s.port, err = freePort(ctx)
	}
	if err == nil {
		err = s.Start(ctx)
	}
	if err != nil {
		t.Fatalf("start a standby: %v", err)
	}
	return s
}

// unprivileged returns whom a server runs as: it refuses to run as root.
func unprivileged() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil //nolint:nilnil // as we are
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			uid, _ := strconv.ParseUint(u.Uid, 10, 32) // as it stands in the file
			gid, _ := strconv.ParseUint(u.Gid, 10, 32)
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("neither a user postgres nor nobody to run a server as")
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) makeData(ctx context.Context) error {
	return s.program(ctx, "initdb", "-D", s.data(), "-U", "roam", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")
}

// program runs one of the server's programs.
func (s *Server) program(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, name), args...) //nolint:gosec // programs of the server
	cmd.SysProcAttr, cmd.Dir = &syscall.SysProcAttr{Credential: s.as}, s.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}

func freePort(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()                   // nothing was sent
	_, port, _ := net.SplitHostPort(l.Addr().String()) // it was just made
	return port, nil
}

// Start starts the server again after Kill or Shut, at the same address and with what it
// had, and returns when it answers.
func (s *Server) Start(ctx context.Context) error {
	args := []string{"-D", s.data(), "-c", "port=" + s.port}
	for _, setting := range append([]string{
		"listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "max_connections=200",
		"shared_buffers=32MB", "autovacuum_naptime=5s", "logging_collector=off", "log_min_messages=fatal",
	}, s.settings...) {
		args = append(args, "-c", setting)
	}
	s.said.Reset()
	cmd := exec.CommandContext(context.WithoutCancel(ctx), filepath.Join(s.bin, "postgres"), args...) //nolint:gosec // programs of the server
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
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		conn, err := pgx.Connect(ctx, s.DSN())
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-s.ended:
			return fmt.Errorf("postgres ended:\n%s", s.said.String())
		default:
		}
		if time.Since(begun) > startMost {
			s.Kill()
			return fmt.Errorf("postgres does not answer: %w\n%s", err, s.said.String())
		}
	}
}

// ownProcess makes a server that a key pressed in our terminal does not end, and that
// ends when we do, however that is.
func ownProcess(as *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: as}
}

// Addr returns host:port.
func (s *Server) Addr() string { return "127.0.0.1:" + s.port }

// DSN returns how to connect as who owns everything.
func (s *Server) DSN() string { return "postgres://roam@" + s.Addr() + "/postgres?sslmode=disable" }

// Kill ends the server as a crash does: it has to recover when it is started again.
func (s *Server) Kill() { s.end(syscall.SIGQUIT) }

// Shut ends the server as who maintains it does: transactions under way are undone, and
// those who are connected are told.
func (s *Server) Shut() { s.end(syscall.SIGINT) }

func (s *Server) end(how syscall.Signal) {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(how) // it may have ended
	select {
	case <-s.ended:
	case <-time.After(stopMost):
		_ = s.cmd.Process.Kill()
		<-s.ended
	}
	s.cmd = nil
}

// Do runs statements, of which none has an answer that matters.
func (s *Server) Do(t testing.TB, sql ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), stopMost)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.DSN())
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	defer func() { _ = conn.Close(ctx) }() // all was done
	for _, text := range sql {
		if _, err := conn.Exec(ctx, text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
}

// Text returns the one value that a question has for an answer, as text.
func (s *Server) Text(t testing.TB, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.DSN())
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	defer func() { _ = conn.Close(t.Context()) }() // it was read
	var out any
	if err := conn.QueryRow(t.Context(), sql).Scan(&out); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return fmt.Sprint(out)
}

// Remove ends the server and takes away what it kept.
func (s *Server) Remove() {
	s.Kill()
	_ = os.RemoveAll(s.dir) // the machine's own cleaning has the rest
}
