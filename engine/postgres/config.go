package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/roam-sessions/roam/crdt"
)

// A Config is what an engine may be told. Only DSN is required.
type Config struct {
	// DSN says where the database is and who connects, as a URL or as key=value pairs:
	// what libpq takes, several hosts with target_session_attrs among it.
	DSN string
	// Plaintext says that the network may see all that is sent, and pose as the server.
	// Without it only sockets of this machine are connected to without a TLS that
	// verifies who answers, which is sslmode=verify-full. Default false.
	Plaintext bool
	// Password, if set, is asked for a password before each connection. Default: the
	// DSN's.
	Password func(context.Context) (string, error)
	// Schema holds the tables: small letters, digits and underscores. Default "roam".
	Schema string
	// Migrate has Open create the schema or bring it up to date, which takes a role that
	// may. Default false: Open fails where Migrate has not been called.
	Migrate bool
	// MaxConns bounds the connections. Calls beyond it wait. Default 16.
	MaxConns int32
	// Replicated says that peers give the database back what it loses. A new schema then
	// answers with engine.ErrRefilling until they have. Default false: what is not there
	// is nowhere. Not for DSQL.
	Replicated bool
	// MaxBytes bounds the records, as their stored bytes add up; tables and indexes take
	// some two to three times that. At 80 % births of anonymous sessions are refused with
	// engine.ErrFull, at 90 % all births, at 100 % whatever else would grow a record; it
	// is looked at each second. Endings, touches, joins and what peers send are never
	// refused, and nothing is evicted. Default 0: no bound but the disk, where writes are
	// refused with engine.ErrFull. Not for DSQL, which has no disk to fill.
	MaxBytes int64
	// LogBytes bounds the log that is kept for peers, in all partitions together, give or
	// take what is written in a SweepInterval. Default 256 MiB.
	LogBytes int64
	// KeepReleased is how long log entries stay that all peers have acknowledged.
	// Default 5 min (DESIGN R14).
	KeepReleased time.Duration
	// KeepLog is how long entries stay that some peer has not: one that was away for
	// longer compares all records, which costs no more by then. Default 15 min, or
	// KeepReleased if that is more.
	KeepLog time.Duration
	// SweepInterval is between two looks at what may be dropped or trimmed. Default 10 s.
	SweepInterval time.Duration
	// Log is told what nobody asked for, such as what could be set up better at the
	// server. Default: discarded.
	Log *slog.Logger

	clock func(time.Time) crdt.Time // what the server's clock shows; for tests, as what follows
	draw  func() crdt.Actor         // who is to write where a server takes over a log
}

// schemaName is what a schema may be called, so that it needs no escaping.
var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,39}$`)

func (c Config) withDefaults() Config {
	if c.Schema == "" {
		c.Schema = "roam"
	}
	if c.MaxConns == 0 {
		c.MaxConns = 16
	}
	if c.LogBytes == 0 {
		c.LogBytes = 256 << 20
	}
	if c.KeepReleased == 0 {
		c.KeepReleased = 5 * time.Minute
	}
	if c.KeepLog == 0 {
		c.KeepLog = max(15*time.Minute, c.KeepReleased)
	}
	if c.SweepInterval == 0 {
		c.SweepInterval = 10 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.clock == nil {
		c.clock = crdt.TimeOf
	}
	return c
}

// minMaxBytes leaves room for one record as large as crdt allows, below the mark where
// births are refused.
const minMaxBytes = 2 * crdt.MaxRecordBytes

// check returns all that is wrong with c, and how to connect if nothing is.
func (c Config) check(here crdt.Region, d dialect) (*pgxpool.Config, error) {
	var faults []error
	fault := func(is bool, format string, args ...any) {
		if is {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(!here.Valid(), "region %d: want 1 to %d", here, crdt.MaxRegion)
	fault(!schemaName.MatchString(c.Schema), "Schema %q: want up to 40 small letters, digits and underscores", c.Schema)
	fault(c.MaxConns < 2 || c.MaxConns > 10_000, "MaxConns %d: want 2 to 10000", c.MaxConns)
	fault(c.MaxBytes != 0 && c.MaxBytes < minMaxBytes, "MaxBytes %d: want 0, or at least %d", c.MaxBytes, minMaxBytes)
	fault(c.LogBytes < 1<<20, "LogBytes %d: want 1 MiB or more", c.LogBytes)
	fault(c.KeepReleased < 0, "KeepReleased %v: want 0 or more", c.KeepReleased)
	fault(c.KeepLog < c.KeepReleased, "KeepLog %v: want KeepReleased or more, which is %v", c.KeepLog, c.KeepReleased)
	fault(c.SweepInterval < time.Millisecond, "SweepInterval %v: want 1 ms or more", c.SweepInterval)
	if d == dsql {
		fault(c.MaxBytes != 0, "MaxBytes %d: DSQL has no disk to fill", c.MaxBytes)
		fault(c.Replicated, "Replicated: DSQL replicates itself")
	}
	pool, err := c.pool(d)
	if err != nil {
		faults = append(faults, err)
	}
	return pool, errors.Join(faults...)
}

// Settings of the connections.
const (
	// dialTimeout is for three round trips to the far side of the earth, and again for
	// the first words.
	dialTimeout = 1500 * time.Millisecond
	// connLifetime is below the hour after which DSQL ends a connection, and lets a name
	// that leads elsewhere be followed.
	connLifetime       = 10 * time.Minute
	connLifetimeJitter = 2 * time.Minute
	connIdle           = 5 * time.Minute
	// serverWait is how long the server lets a statement run or a transaction stand: a
	// partition is locked no longer by who has left without a word.
	serverWait = "5000" // ms
)

// keepAlive has the kernel find out within some five seconds that whoever was connected to
// is gone without a word.
func keepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: 2 * time.Second, Interval: time.Second, Count: 3}
}

// pool returns how to connect.
func (c Config) pool(d dialect) (*pgxpool.Config, error) {
	if c.DSN == "" {
		return nil, errors.New("DSN is empty: want a URL such as postgres://user@host/database?sslmode=verify-full")
	}
	p, err := pgxpool.ParseConfig(c.DSN)
	if err != nil {
		return nil, fmt.Errorf("DSN: %w", err) // pgx takes the password out
	}
	p.MaxConns, p.MinConns, p.MinIdleConns = c.MaxConns, 0, 0
	p.MaxConnLifetime, p.MaxConnLifetimeJitter, p.MaxConnIdleTime = connLifetime, connLifetimeJitter, connIdle
	p.ConnConfig.ConnectTimeout = dialTimeout
	p.ConnConfig.DialFunc = (&net.Dialer{KeepAliveConfig: keepAlive()}).DialContext
	params := p.ConnConfig.RuntimeParams
	if params["application_name"] == "" {
		params["application_name"] = "roam"
	}
	if d == pg {
		for _, name := range []string{"statement_timeout", "idle_in_transaction_session_timeout"} {
			if params[name] == "" {
				params[name] = serverWait
			}
		}
	}
	if c.Password != nil {
		p.BeforeConnect = func(ctx context.Context, cc *pgx.ConnConfig) error {
			password, err := c.Password(ctx)
			if err != nil {
				return fmt.Errorf("ask for a password: %w", err)
			}
			cc.Password = password
			return nil
		}
	}
	if c.Plaintext {
		return p, nil
	}
	faults := []error{secure(p.ConnConfig.Host, p.ConnConfig.TLSConfig)}
	for _, f := range p.ConnConfig.Fallbacks {
		faults = append(faults, secure(f.Host, f.TLSConfig))
	}
	return p, errors.Join(faults...)
}

// secure returns why a host can't be connected to without anybody listening, or posing
// as it.
func secure(host string, t *tls.Config) error {
	verifies := t != nil && (!t.InsecureSkipVerify || t.VerifyPeerCertificate != nil || t.VerifyConnection != nil)
	if verifies || isHere(host) {
		return nil
	}
	return fmt.Errorf("host %q is not of this machine: set sslmode=verify-full, or Plaintext if the network is trusted", host)
}

// isHere reports whether a host is a socket of this machine.
func isHere(host string) bool {
	ip := net.ParseIP(host)
	return strings.HasPrefix(host, "/") || host == "localhost" || ip != nil && ip.IsLoopback()
}

// lockNumber returns the number of an advisory lock of a schema's.
func (c Config) lockNumber(what string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte("roam " + what + " " + c.Schema)) // never fails
	return int64(h.Sum64())                                 //nolint:gosec // any 64 bits
}
