//go:build integration

package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/roam-sessions/roam/internal/postgresserver"
)

// answerMost bounds what a test asks of a server by itself.
const answerMost = 10 * time.Second

// A Server is a PostgreSQL server on loopback, for tests.
type Server struct{ *postgresserver.Server }

// Start starts a server that ends with t, with settings such as "max_connections=20".
// Where there is none to start, the test fails where CI=true, and is skipped elsewhere.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	s := Use(t, func() (*Server, error) { return begin(t.Context(), postgresserver.Config{Settings: settings}) })
	t.Cleanup(s.Remove)
	return s
}

// Begin starts a server for all tests of a package, which lives until it is removed.
func Begin(ctx context.Context) (*Server, error) { return begin(ctx, postgresserver.Config{}) }

func begin(ctx context.Context, c postgresserver.Config) (*Server, error) {
	p, err := postgresserver.Find(ctx)
	if err != nil {
		return nil, err
	}
	s, err := postgresserver.Start(ctx, p, c)
	if err != nil {
		return nil, err
	}
	return &Server{s}, nil
}

// Use returns the server that begin started. Where there was none to start, the test fails
// where CI=true, and is skipped elsewhere.
func Use(t testing.TB, begin func() (*Server, error)) *Server {
	t.Helper()
	s, err := begin()
	switch {
	case errors.Is(err, postgresserver.ErrMissing) && os.Getenv("CI") == "true":
		t.Fatalf("run ./scripts/install-test-deps.sh: %v", err)
	case errors.Is(err, postgresserver.ErrMissing):
		t.Skipf("NOT TESTED on a real server; run ./scripts/install-test-deps.sh: %v", err)
	case err != nil:
		t.Fatal(err)
	}
	return s
}

// StartStandby starts a server that follows another one, and returns it once it has what
// that has. It ends with t.
func StartStandby(t testing.TB, primary *Server, settings ...string) *Server {
	t.Helper()
	s, err := begin(t.Context(), postgresserver.Config{Settings: settings, Follows: primary.Server})
	if err != nil {
		t.Fatalf("start a standby: %v", err)
	}
	t.Cleanup(s.Remove)
	return s
}

// Start starts the server again after Kill or Shut, at the same address and with what it
// had, and returns when it answers.
func (s *Server) Start(ctx context.Context) error { return s.Restart(ctx) }

// Do runs statements, of which none has an answer that matters.
func (s *Server) Do(t testing.TB, sql ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), answerMost)
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
func (s *Server) Remove() { _ = s.Stop() } // the machine's own cleaning has the rest
