package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// leastVersion is the first version of PostgreSQL that is tested.
const leastVersion = 15

// A Finding is something about a server that should be otherwise.
type Finding struct {
	// Fatal: sessions would be lost, so Open refuses it.
	Fatal bool
	// What is the matter, and how it is mended.
	What, Mend string
}

// String returns the finding as one line.
func (f Finding) String() string { return f.What + "; " + f.Mend }

// A Server is what one says of itself.
type Server struct {
	// Version as it says it, such as 15.18.
	Version string
	// Standby: it takes no writes.
	Standby bool
	// Schema is the version of the schema; 0 if there is none.
	Schema int
	// Made is when the schema was made, by the server's clock; zero if there is none. Two
	// that were made at one microsecond are one, or one is a copy of the other.
	Made time.Time
	// Took is how long it took to answer; ClockAhead, by how much its clock is before
	// this machine's, give or take half of that.
	Took, ClockAhead time.Duration
	Findings         []Finding
}

// settingsText asks for what judge looks at.
const settingsText = `SELECT name, setting FROM pg_settings WHERE name IN ('server_version_num', 'server_version',
	'fsync', 'full_page_writes', 'synchronous_commit', 'default_transaction_read_only', 'max_connections')`

// Inspect returns what is wrong with the server. It fails if it can't be asked.
func (e *Engine) Inspect(ctx context.Context) ([]Finding, error) {
	if err := e.open(ctx); err != nil {
		return nil, fmt.Errorf("inspect the server: %w", err)
	}
	settings, err := e.settings(ctx)
	if err != nil {
		return nil, fmt.Errorf("inspect the server: %w", err)
	}
	return judge(settings, e.config.MaxConns), nil
}

// settings returns what the server is set to.
func (s *store) settings(ctx context.Context) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, callMost)
	defer cancel()
	out := map[string]string{}
	err := s.query(ctx, settingsText, nil, func(r pgx.Rows) error {
		var name, value string
		err := r.Scan(&name, &value)
		out[name] = value
		return err
	})
	return out, err
}

// judge returns what is wrong with a server that is set so. What it does not tell is
// taken to be right.
func judge(settings map[string]string, conns int32) (out []Finding) {
	if n, err := strconv.Atoi(settings["server_version_num"]); err == nil && n/10_000 < leastVersion {
		out = append(out, Finding{
			Fatal: true, What: "the server is PostgreSQL " + settings["server_version"],
			Mend: fmt.Sprintf("use %d or later", leastVersion),
		})
	}
	for _, name := range []string{"fsync", "full_page_writes"} {
		if settings[name] == "off" {
			out = append(out, Finding{
				What: name + " is off: a machine that crashes may lose all sessions and logouts",
				Mend: "set " + name + " on",
			})
		}
	}
	if settings["synchronous_commit"] == "off" {
		out = append(out, Finding{
			What: "synchronous_commit is off: a server that crashes forgets the logouts of the last moment",
			Mend: "set synchronous_commit on",
		})
	}
	if n, err := strconv.Atoi(settings["max_connections"]); err == nil && int64(n) < 2*int64(conns) {
		out = append(out, Finding{
			What: fmt.Sprintf("max_connections is %d, and each process may want %d", n, conns),
			Mend: "set max_connections to more than all processes together may want, or MaxConns to less",
		})
	}
	return out
}

// fit refuses servers that sessions would be lost on, and logs what else is found.
func (e *Engine) fit(ctx context.Context) error {
	settings, err := e.settings(ctx)
	if err != nil {
		return err
	}
	var faults []error
	for _, f := range judge(settings, e.config.MaxConns) {
		if f.Fatal {
			faults = append(faults, fmt.Errorf("%w: %v", ErrUnfit, f))
			continue
		}
		e.config.Log.Warn("server could be set up better", "what", f.What, "mend", f.Mend)
	}
	return errors.Join(faults...)
}

// madeText asks when a schema was made.
const madeText = `SELECT min(applied) FROM {s}.migration`

// look notes which schema there is, and since when.
func (o *Server) look(ctx context.Context, s *store) (err error) {
	if o.Schema, _, err = s.version(ctx); err != nil || o.Schema == 0 {
		return err
	}
	return s.query(ctx, quoter(s.config.Schema)(madeText), nil, func(r pgx.Rows) error { return r.Scan(&o.Made) })
}

// examineText asks whether a server is a standby, and for its time.
const examineText = `SELECT pg_is_in_recovery(), clock_timestamp()`

// Examine asks the server that c leads to, and changes nothing there.
func Examine(ctx context.Context, c Config) (Server, error) {
	out, err := examine(ctx, c)
	if err != nil {
		return Server{}, fmt.Errorf("examine the server: %w", err)
	}
	return out, nil
}

func examine(ctx context.Context, c Config) (out Server, err error) {
	c = c.withDefaults()
	s := &store{config: c, closed: make(chan struct{}), stop: func() {}}
	pool, err := c.check(1, pg) // whichever Region it is
	if err != nil {
		return out, err
	}
	if s.pool, err = newPool(ctx, pool); err != nil {
		return out, err
	}
	defer s.pool.Close()
	settings, err := s.settings(ctx) // the first takes as long as a connection
	if err != nil {
		return out, err
	}
	out.Version, _, _ = strings.Cut(settings["server_version"], " ")
	out.Findings = judge(settings, c.MaxConns)
	var at time.Time
	asked := time.Now()
	err = s.query(ctx, examineText, nil, func(r pgx.Rows) error { return r.Scan(&out.Standby, &at) })
	if err != nil {
		return out, err
	}
	out.Took = time.Since(asked)
	out.ClockAhead = at.Sub(asked.Add(out.Took / 2))
	return out, out.look(ctx, s)
}

// ExamineDSQL asks the cluster that c leads to, and changes nothing there. A cluster has
// no settings to find fault with.
func ExamineDSQL(ctx context.Context, c Config) (Server, error) {
	c = c.withDefaults()
	s := &store{config: c, closed: make(chan struct{}), stop: func() {}}
	out := Server{Version: "Aurora DSQL"}
	pool, err := c.check(1, dsql) // whichever Region it is
	if err == nil {
		s.pool, err = newPool(ctx, pool)
	}
	if err != nil {
		return Server{}, fmt.Errorf("examine the cluster: %w", err)
	}
	defer s.pool.Close()
	if err = out.look(ctx, s); err == nil { // the first takes as long as a connection
		asked := time.Now()
		var at time.Time
		err = s.query(ctx, newDsqlTexts(c.Schema).clock, nil, func(r pgx.Rows) error { return r.Scan(&at) })
		out.Took = time.Since(asked)
		out.ClockAhead = at.Sub(asked.Add(out.Took / 2))
	}
	if err != nil {
		return Server{}, fmt.Errorf("examine the cluster: %w", err)
	}
	return out, nil
}
