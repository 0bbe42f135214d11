package topology

import (
	"slices"
	"time"
)

// The kinds of engines, as they are called in the file.
const (
	kindValkey   = "valkey"
	kindMemory   = "memory"
	kindPostgres = "postgres"
	kindDSQL     = "dsql"
	kindDynamo   = "dynamo"
)

// An Engine is where a Region keeps its sessions: one of these is set.
type Engine struct {
	Valkey   *Valkey
	Memory   *Memory
	Postgres *Postgres
	DSQL     *DSQL
	Dynamo   *Dynamo
}

// Kind returns "valkey", "memory", "postgres", "dsql" or "dynamo".
func (e Engine) Kind() string {
	switch {
	case e.Valkey != nil:
		return kindValkey
	case e.Memory != nil:
		return kindMemory
	case e.Postgres != nil:
		return kindPostgres
	case e.DSQL != nil:
		return kindDSQL
	case e.Dynamo != nil:
		return kindDynamo
	}
	return "" // of a file that has faults
}

// OneStore reports whether this is a part of what all Regions have one of, which
// replicates itself: a table of DynamoDB, or a cluster of Aurora DSQL.
func (e Engine) OneStore() bool { return e.DSQL != nil || e.Dynamo != nil }

// Valkey says how a server or cluster is reached. The zero of a quantity means
// the default of package valkey.
type Valkey struct {
	Addrs        []string // host:port
	Username     string
	PasswordFile string // path of a file that holds it; empty: none
	PasswordEnv  string // name of the environment's variable; empty: none
	TLS          *ServerTLS
	Plaintext    bool
	LogBytes     int64
	KeepReleased time.Duration
	KeepLog      time.Duration
	// Replicas, host:port, or those of the cluster, are read from by applications.
	Replicas        []string
	ClusterReplicas bool
}

// ServerTLS says how the server proves who it is, and how we do.
type ServerTLS struct {
	CA         string // path; empty: the system's
	ServerName string // empty: the host of the address
	// Targets are names, or what names end with if they begin with a dot, that the address
	// may be an alias of. Empty: it is none.
	Targets   []string
	Cert, Key string // paths; empty: we have none
}

// Memory is the embedded engine. The zero of a quantity means the default of
// package memory.
type Memory struct {
	MaxBytes     int64
	LogBytes     int64
	KeepReleased time.Duration
}

// Postgres says how a database of PostgreSQL is reached. The zero of a quantity means
// the default of package postgres.
type Postgres struct {
	// Hosts are host:port, where host may be the folder of a socket of this machine. Of
	// several the one that takes writes is used.
	Hosts          []string
	Database, User string
	PasswordFile   string     // path of a file that holds it; empty: none
	PasswordEnv    string     // name of the environment's variable; empty: none
	TLS            *ServerTLS // without ServerName: it verifies the host
	Plaintext      bool
	Schema         string // empty: roam
	Migrate        bool   // who opens it makes the schema
	MaxConns       int
	MaxBytes       int64
	LogBytes       int64
	KeepReleased   time.Duration
	KeepLog        time.Duration
}

// DSQL says how a cluster of Aurora DSQL is reached. The zero of a quantity means the
// default of package postgres.
type DSQL struct {
	// Endpoint is the cluster's name in this Region; or host:port on loopback, of what
	// behaves as a cluster does and wants neither TLS nor tokens.
	Endpoint  string
	AWSRegion string // empty on loopback only
	User      string // empty: admin
	Schema    string // empty: roam
	Migrate   bool   // who opens it makes the schema
	MaxConns  int
}

// IsLocal reports whether the endpoint is none of AWS.
func (d DSQL) IsLocal() bool { return loopback(d.Endpoint) }

// Dynamo says which table of DynamoDB is used, and where.
type Dynamo struct {
	Table       string // its name, or its ARN
	AWSRegion   string
	Strong      bool   // it is strongly consistent in all Regions, or in one alone
	Endpoint    string // URL; empty: AWS's own for the Region
	Connections int    // zero: the default of package dynamo
}

// OneStore reports whether all Regions keep sessions in one store that replicates
// itself. Nodes push nothing then, and every Region takes writes.
func (d Deployment) OneStore() bool { return len(d.Regions) > 0 && d.Regions[0].Engine.OneStore() }

// Eventually reports whether there is one store of several Regions, of which each reads a
// copy of its own, that gets what others write some time later. Else what one has
// acknowledged every other shows at once.
func (d Deployment) Eventually() bool {
	return len(d.Regions) > 1 && d.OneStore() && d.Regions[0].Engine.Dynamo != nil && !d.Regions[0].Engine.Dynamo.Strong
}

// Sweeper returns the name of the Region whose node deletes what is past its time; empty:
// the engines do so, or the store does. A table of DynamoDB that is strongly consistent in
// several Regions has no time to live.
func (d Deployment) Sweeper() string {
	if len(d.Regions) < 2 || d.Regions[0].Engine.Dynamo == nil || !d.Regions[0].Engine.Dynamo.Strong {
		return ""
	}
	return d.Regions[0].Name
}

const (
	// serviceLocal is how long one call may take at a service of AWS in this Region: a
	// write is two requests of some 10 ms, of which one may be sent again.
	serviceLocal = 100 * time.Millisecond
	// commitLocal is how long it may take where a write is in another Region too before
	// it is acknowledged; commitRemote, if it is also made from another Region.
	commitLocal  = 300 * time.Millisecond
	commitRemote = 500 * time.Millisecond
	// transactionRemote is how long one call may take at PostgreSQL in another Region: a
	// write is two round trips.
	transactionRemote = 500 * time.Millisecond
)

// Timeouts returns those of the file, and where it has none those that its store needs;
// zero means the router's default.
func (d Deployment) Timeouts() Timeouts {
	t := d.Policies.Timeouts
	local, remote := time.Duration(0), time.Duration(0)
	switch {
	case !d.OneStore():
		if slices.ContainsFunc(d.Regions, func(r Region) bool { return r.Engine.Postgres != nil }) {
			remote = transactionRemote
		}
	case d.Eventually() || len(d.Regions) == 1:
		local = serviceLocal
	default:
		local, remote = commitLocal, commitRemote
	}
	if t.Local == 0 {
		t.Local = local
	}
	if t.Remote == 0 {
		t.Remote = remote
	}
	return t
}

// under returns e with each of its paths changed.
func (e Engine) under(at func(path *string)) Engine {
	tls := func(t *ServerTLS) *ServerTLS {
		if t == nil {
			return nil
		}
		out := *t
		at(&out.CA)
		at(&out.Cert)
		at(&out.Key)
		return &out
	}
	if e.Valkey != nil {
		v := *e.Valkey
		at(&v.PasswordFile)
		v.TLS = tls(v.TLS)
		e.Valkey = &v
	}
	if e.Postgres != nil {
		v := *e.Postgres
		at(&v.PasswordFile)
		v.TLS = tls(v.TLS)
		e.Postgres = &v
	}
	return e
}
