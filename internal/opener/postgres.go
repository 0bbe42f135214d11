package opener

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/roam-sessions/roam/engine/postgres"
	"github.com/roam-sessions/roam/internal/topology"
)

// PostgresConfig returns how a database is reached that a deployment describes, with what
// the environment says by getenv. The file of a password is read for each connection, and
// once now, so that one that is not there is told at once.
func PostgresConfig(p *topology.Postgres, getenv func(string) string) (postgres.Config, error) {
	c := postgres.Config{
		DSN: dsnOf(p), Plaintext: p.Plaintext, Schema: p.Schema, Migrate: p.Migrate, MaxConns: int32(p.MaxConns), //nolint:gosec // at most 10,000
		MaxBytes: p.MaxBytes, LogBytes: p.LogBytes, KeepReleased: p.KeepReleased, KeepLog: p.KeepLog,
	}
	ask := func() (string, error) {
		text, err := passwordOf(p.PasswordFile, p.PasswordEnv, getenv)
		if err != nil {
			return "", fmt.Errorf("password of the database: %w", err)
		}
		return text, nil
	}
	if p.PasswordFile == "" && p.PasswordEnv == "" {
		return c, nil
	}
	c.Password = func(context.Context) (string, error) { return ask() }
	_, err := ask()
	return c, err
}

// unprepared has a connection prepare no statements: each takes a round trip when it is
// first used, on each connection anew, and a call that is cut short for it takes the
// connection along. It costs the server some of its time to read them each time.
const unprepared = " default_query_exec_mode='exec'"

// passwordOf reads a password from where a file says that it is.
func passwordOf(file, env string, getenv func(string) string) (string, error) {
	if file != "" {
		text, err := readSmall(file)
		return strings.TrimRight(string(text), "\r\n"), err
	}
	text := getenv(env)
	if text == "" {
		return "", errors.New("the variable " + env + " is empty or not set")
	}
	return text, nil
}

// dsnOf returns key=value pairs: a URL with several hosts is none that every parser takes.
func dsnOf(p *topology.Postgres) string {
	var hosts, ports []string
	loopback := true
	for _, addr := range p.Hosts {
		host, port, _ := net.SplitHostPort(addr) // the file's reader has seen that it is one
		hosts, ports = append(hosts, host), append(ports, port)
		ip := net.ParseIP(host)
		loopback = loopback && (strings.HasPrefix(host, "/") || host == "localhost" || ip != nil && ip.IsLoopback())
	}
	var b strings.Builder
	put := func(key, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s='%s' ", key, strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value))
		}
	}
	put("host", strings.Join(hosts, ","))
	put("port", strings.Join(ports, ","))
	put("dbname", p.Database)
	put("user", p.User)
	switch {
	case p.TLS != nil:
		put("sslmode", "verify-full")
		put("sslrootcert", p.TLS.CA)
		put("sslcert", p.TLS.Cert)
		put("sslkey", p.TLS.Key)
	case loopback:
		put("sslmode", "disable")
	default: // the file says that the network may see all
		put("sslmode", "prefer")
	}
	if len(hosts) > 1 {
		put("target_session_attrs", "read-write")
	}
	return strings.TrimSpace(b.String())
}

// dsqlConfig returns what a deployment says of the engine on a cluster.
func dsqlConfig(d *topology.DSQL) postgres.Config {
	return postgres.Config{Schema: d.Schema, Migrate: d.Migrate, MaxConns: int32(d.MaxConns)} //nolint:gosec // at most 10,000
}

// localDSN returns how what behaves as a cluster does is reached on this machine. A
// cluster has one isolation level, and what is behind this may have another by default.
func localDSN(d *topology.DSQL) string {
	user := d.User
	if user == "" {
		user = "admin"
	}
	return dsnOf(&topology.Postgres{Hosts: []string{d.Endpoint}, Database: "postgres", User: user}) +
		" default_transaction_isolation='repeatable read'"
}
