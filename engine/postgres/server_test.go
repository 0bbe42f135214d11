//go:build integration

package postgres

import (
	"context"
	"crypto/rand"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/internal/postgrestest"
)

// shared is a server for those tests that do nothing to it.
var shared = sync.OnceValues(func() (*postgrestest.Server, error) { return postgrestest.Begin(context.Background()) })

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if s, err := shared(); err == nil {
			s.Remove()
		}
		os.Exit(code)
	}), goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"), goleak.IgnoreAnyFunction("os/exec.(*Cmd).writerDescriptor.func1"))
}

// newSchema returns a name that nobody has used.
func newSchema() string {
	return strings.ToLower("roam_" + rand.Text())
}

// open opens an engine on the shared server, in a schema of its own unless c names one.
func open(t *testing.T, here crdt.Region, c Config) *Engine {
	t.Helper()
	return openFor(t, here, c)
}

func openFor(t testing.TB, here crdt.Region, c Config) *Engine {
	t.Helper()
	s := postgrestest.Use(t, shared)
	if c.DSN == "" {
		c.DSN = s.DSN()
	}
	if c.Schema == "" {
		c.Schema = newSchema()
		t.Cleanup(func() { s.Do(t, `DROP SCHEMA IF EXISTS `+c.Schema+` CASCADE`) })
	}
	c.Migrate = true
	e, err := Open(t.Context(), here, c)
	if err != nil {
		t.Fatalf("Open(%d, schema %s) = %v, want no error", here, c.Schema, err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("Close() = %v, want no error", err)
		}
	})
	return e
}

// openDSQL opens an engine behind what behaves as DSQL does.
func openDSQL(t *testing.T, here crdt.Region, conflicts int64, c Config) (*DSQL, *postgrestest.DSQL) {
	t.Helper()
	s := postgrestest.Use(t, shared)
	d := postgrestest.NewDSQL(t, s)
	d.Conflicts.Store(conflicts)
	c.DSN, c.Migrate = d.DSN(), true
	if c.Schema == "" {
		c.Schema = newSchema()
		t.Cleanup(func() { s.Do(t, `DROP SCHEMA IF EXISTS `+c.Schema+` CASCADE`) })
	}
	e, err := OpenDSQL(t.Context(), here, c)
	if err != nil {
		t.Fatalf("OpenDSQL(%d, schema %s) = %v, want no error", here, c.Schema, err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("Close() = %v, want no error", err)
		}
	})
	return e, d
}

// A clock is the server's, moved on.
type clock struct{ ahead atomic.Int64 }

func (c *clock) of(t time.Time) crdt.Time { return crdt.TimeOf(t.Add(time.Duration(c.ahead.Load()))) }
func (c *clock) Now() time.Time           { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) Advance(d time.Duration)  { c.ahead.Add(int64(d)) }
func now() crdt.Time                      { return crdt.TimeOf(time.Now()) }

func newKey() crdt.Key {
	var e crdt.IDEntropy
	_, _ = rand.Read(e[:]) // never fails
	return crdt.SessionKey(crdt.NewSessionID(now().Add(time.Hour), 1, e))
}

func birth() crdt.Op {
	return crdt.Op{Stamp: now().Stamp(), Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}}
}

func put(name, value string) crdt.Op {
	return crdt.Op{ID: 1, Stamp: now().Stamp() + 1, Changes: []crdt.Change{crdt.Put(name, []byte(value))}}
}
