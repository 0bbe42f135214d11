//go:build integration

package postgres

import (
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/enginetest"
	"github.com/roam-sessions/roam/internal/postgrestest"
)

func TestPromises(t *testing.T) {
	t.Parallel() // it mostly waits
	enginetest.Run(t, func(t *testing.T, here crdt.Region) engine.Engine {
		return open(t, here, Config{})
	}, enginetest.Options{})
}

// Nothing is prepared where a server is far away: see internal/opener.
func TestPromisesUnprepared(t *testing.T) {
	t.Parallel() // it mostly waits
	s := postgrestest.Use(t, shared)
	enginetest.Run(t, func(t *testing.T, here crdt.Region) engine.Engine {
		return open(t, here, Config{DSN: s.DSN() + "&default_query_exec_mode=exec"})
	}, enginetest.Options{})
}

// With a clock that the test moves it keeps the promises about time too.
func TestPromisesAsTimePasses(t *testing.T) {
	t.Parallel() // it mostly waits
	var c clock
	enginetest.Run(t, func(t *testing.T, here crdt.Region) engine.Engine {
		return open(t, here, Config{clock: c.of, SweepInterval: 20 * time.Millisecond})
	}, enginetest.Options{Now: c.Now, Advance: c.Advance})
}

// Behind what behaves as DSQL does, of which each tenth commit conflicts.
func TestPromisesOfDSQL(t *testing.T) {
	t.Parallel() // it mostly waits
	enginetest.Run(t, func(t *testing.T, here crdt.Region) engine.Engine {
		e, _ := openDSQL(t, here, 100, Config{})
		return e
	}, enginetest.Options{})
}

func TestPromisesOfDSQLAsTimePasses(t *testing.T) {
	t.Parallel() // it mostly waits
	var c clock
	enginetest.Run(t, func(t *testing.T, here crdt.Region) engine.Engine {
		e, _ := openDSQL(t, here, 100, Config{clock: c.of, SweepInterval: 20 * time.Millisecond})
		return e
	}, enginetest.Options{Now: c.Now, Advance: c.Advance})
}

// What DSQL does by itself is no power of its engine.
func TestDSQLHasNoLogOfOurs(t *testing.T) {
	e, _ := openDSQL(t, 1, 0, Config{})
	if _, ok := engine.As[engine.Log](e); ok {
		t.Error("the engine of DSQL has a log")
	}
	if _, ok := engine.As[engine.Sink](e); ok {
		t.Error("the engine of DSQL is a sink")
	}
	if _, ok := engine.As[engine.Refiller](e); ok {
		t.Error("the engine of DSQL is refilled")
	}
}

// A Region's actor stays: it is one for all processes, and others have another.
func TestDSQLKeepsItsActors(t *testing.T) {
	a, _ := openDSQL(t, 1, 0, Config{})
	again, _ := openDSQL(t, 1, 0, Config{Schema: a.config.Schema})
	other, _ := openDSQL(t, 2, 0, Config{Schema: a.config.Schema})
	if again.actor != a.actor || other.actor == a.actor || a.actor.Region() != 1 || other.actor.Region() != 2 {
		t.Errorf("actors %v, again %v, of Region 2 %v; want one for each Region", a.actor, again.actor, other.actor)
	}
}
