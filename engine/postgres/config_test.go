package postgres

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

func TestAllFaultsAreTold(t *testing.T) {
	c := Config{
		DSN: "postgres://u@db.example/x", Schema: "a-b", MaxConns: 1, MaxBytes: 1, LogBytes: 1, KeepReleased: -1, KeepLog: -2,
		SweepInterval: 1, Replicated: true,
	}.withDefaults()
	_, err := c.check(0, dsql)
	for _, want := range []string{
		"region 0", "Schema", "MaxConns", "MaxBytes 1: want 0", "LogBytes", "KeepReleased", "KeepLog", "SweepInterval",
		"no disk to fill", "Replicated", `host "db.example"`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("check = %v, want it to speak of %q", err, want)
		}
	}
}

func TestWhoAnswersIsVerified(t *testing.T) {
	for dsn, ok := range map[string]bool{
		"postgres://u@127.0.0.1/x":                               true,
		"postgres://u@localhost/x?sslmode=disable":               true,
		"host=/var/run/postgresql user=u":                        true,
		"postgres://u@db.example/x?sslmode=verify-full":          true,
		"postgres://u@db.example/x?sslmode=verify-ca":            true,  // the system's authorities
		"postgres://u@db.example/x":                              false, // prefer: without, where it has none
		"postgres://u@db.example/x?sslmode=require":              false, // whoever answers
		"postgres://u@db.example/x?sslmode=disable":              false,
		"postgres://u@127.0.0.1,db.example/x?sslmode=disable":    false,
		"postgres://u@a.example,b.example/x?sslmode=verify-full": true,
		"":                      false,
		"postgres://u@[::1]:x/": false,
	} {
		c := Config{DSN: dsn}.withDefaults()
		if _, err := c.check(1, pg); (err == nil) != ok {
			t.Errorf("check of %q = %v, want accepted: %v", dsn, err, ok)
		}
	}
	c := Config{DSN: "postgres://u@db.example/x", Plaintext: true}.withDefaults()
	if _, err := c.check(1, pg); err != nil {
		t.Errorf("check with Plaintext = %v, want no error", err)
	}
	c.DSN = "postgres://u:geheim@db.example:x/"
	if _, err := c.check(1, pg); err == nil || strings.Contains(err.Error(), "geheim") {
		t.Errorf("check of a broken DSN = %v, want an error without the password", err)
	}
}

// A server lets go of what a client has left, but is told so only where it knows how.
func TestServerIsToldHowLongToWait(t *testing.T) {
	c := Config{DSN: "postgres://u@localhost/x"}.withDefaults()
	for d, want := range map[dialect]string{pg: serverWait, dsql: ""} {
		p, err := c.check(1, d)
		if err != nil {
			t.Fatalf("check = %v, want no error", err)
		}
		for _, name := range []string{"statement_timeout", "idle_in_transaction_session_timeout"} {
			if got := p.ConnConfig.RuntimeParams[name]; got != want {
				t.Errorf("%s in dialect %d = %q, want %q", name, d, got, want)
			}
		}
		if p.MaxConnLifetime+p.MaxConnLifetimeJitter >= time.Hour {
			t.Errorf("connections live %v, and DSQL ends them after an hour", p.MaxConnLifetime+p.MaxConnLifetimeJitter)
		}
	}
}

func TestPasswordIsAskedForEachConnection(t *testing.T) {
	n := 0
	c := Config{DSN: "postgres://u:old@localhost/x", Password: func(context.Context) (string, error) {
		n++
		return strings.Repeat("x", n), nil
	}}.withDefaults()
	p, err := c.check(1, pg)
	if err != nil {
		t.Fatalf("check = %v, want no error", err)
	}
	for want := range 2 {
		cc := p.ConnConfig.Copy()
		if err := p.BeforeConnect(t.Context(), cc); err != nil || len(cc.Password) != want+1 || cc.Password[0] != 'x' {
			t.Errorf("password of connection %d has %d bytes, %v", want, len(cc.Password), err)
		}
	}
}

func TestServersAreJudged(t *testing.T) {
	for name, c := range map[string]struct {
		settings map[string]string
		fatal    bool
		what     string // empty: nothing is found
	}{
		"good":          {map[string]string{"server_version_num": "150018", "fsync": "on", "max_connections": "100"}, false, ""},
		"tells nothing": {nil, false, ""},
		"old":           {map[string]string{"server_version_num": "140012", "server_version": "14.12"}, true, "14.12"},
		"no fsync":      {map[string]string{"fsync": "off"}, false, "fsync"},
		"torn pages":    {map[string]string{"full_page_writes": "off"}, false, "full_page_writes"},
		"forgetful":     {map[string]string{"synchronous_commit": "off"}, false, "synchronous_commit"},
		"narrow":        {map[string]string{"max_connections": "20"}, false, "max_connections"},
	} {
		found := judge(c.settings, 16)
		if c.what == "" {
			if len(found) > 0 {
				t.Errorf("%s: judge = %v, want nothing", name, found)
			}
			continue
		}
		if len(found) != 1 || found[0].Fatal != c.fatal || !strings.Contains(found[0].String(), c.what) || found[0].Mend == "" {
			t.Errorf("%s: judge = %+v, want one, fatal %v, of %s", name, found, c.fatal, c.what)
		}
	}
}

// DESIGN R13, by what is full and what is asked for.
func TestAdmit(t *testing.T) {
	k, user := sample()
	end, _ := k.Deadline()
	at := crdt.Origin{Actor: one, Now: end.Add(-time.Hour)}
	birthOf := func(u string) crdt.Op {
		return crdt.Op{Stamp: at.Now.Stamp(), Birth: &crdt.Birth{}, User: u, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}}
	}
	bottom := crdt.Record{Key: k}
	live, _, err := crdt.Apply(bottom, birthOf("ann"), at)
	if err != nil {
		t.Fatal(err)
	}
	sealed := live
	sealed.VV = nil
	grow := crdt.Op{ID: 1, Stamp: at.Now.Stamp() + 1, Changes: []crdt.Change{crdt.Put("a", make([]byte, 100))}}
	for name, c := range map[string]struct {
		base  crdt.Record
		op    crdt.Op
		until int64 // percent from which on it is refused; 0: never
	}{
		"anonymous birth":       {bottom, birthOf(""), 80},
		"birth":                 {bottom, birthOf("ann"), 90},
		"repeated birth":        {live, birthOf("ann"), 0},
		"growth":                {live, grow, 100},
		"a destroy":             {live, crdt.Op{Destroy: true}, 0},
		"a touch":               {live, crdt.Op{Touch: true}, 0},
		"a revocation":          {crdt.Record{Key: user}, crdt.Op{Revoke: true}, 0},
		"an adopted death":      {live, crdt.Op{Stamp: 1, Adopt: &crdt.Record{Key: k, Dead: true}}, 0},
		"one from a cookie":     {bottom, crdt.Op{Stamp: 1, Adopt: &sealed}, 90},
		"one from a side store": {bottom, crdt.Op{Stamp: 1, Adopt: &live}, 100},
	} {
		out, _, err := crdt.Apply(c.base, c.op, at)
		if err != nil {
			t.Fatalf("%s: Apply = %v", name, err)
		}
		for _, percent := range []int64{0, 79, 80, 89, 90, 99, 100, 150} {
			err := admit(percent, c.base, out, c.op)
			if want := c.until > 0 && percent >= c.until; (err != nil) != want || want && !isFull(err) {
				t.Errorf("%s at %d %%: admit = %v, want refused: %v", name, percent, err, want)
			}
		}
	}
}

func isFull(err error) bool { return engine.OutcomeKnown(err) && strings.Contains(err.Error(), "full") }
