package valkey

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

// A Config is what an Engine may be told. Only Addrs is required.
type Config struct {
	// Addrs are host:port of the server, or of some nodes of a cluster.
	Addrs []string
	// Username and Password are of an ACL user. Default: none.
	Username, Password string
	// TLS, if set, is used for every connection. Without it only addresses of this
	// machine are connected to, unless Plaintext is set.
	TLS *tls.Config
	// Targets are for hosts of Addrs and Replicas that are aliases (CNAME) of the names that
	// servers have certificates of, as a name of one's own that leads to the primary's
	// endpoint at ElastiCache is: each connection goes to what the alias stands for at that
	// time, and wants a certificate of that name. It must be one of these, or end with one
	// that begins with a dot; whoever is led elsewhere fails, for DNS alone is not to say
	// whom to believe. It takes TLS without a ServerName. Default: none; certificates are of
	// the names that are connected to.
	Targets []string
	// Resolver finds out what an alias stands for, and where that is. Default:
	// net.DefaultResolver.
	Resolver *net.Resolver
	// Plaintext says that the network may see all that is sent. Default false.
	Plaintext bool
	// Replicas are host:port of servers that replicate the one of Addrs, in this Region.
	// A read asks one of those that answer soonest, and the primary where that has not
	// got what the client has seen, or nothing; one that is more than a second behind is
	// not asked. Not for clusters. Default: none.
	Replicas []string
	// ClusterReplicas has reads ask the replicas that a cluster has, in the same way,
	// those of each shard. Default false.
	ClusterReplicas bool
	// NearBytes bounds a near-cache: records that were read stay in this process, about
	// so many bytes of them, and are shown again without asking the server, until it
	// tells that they changed. What is shown is at most a second old, whatever happens.
	// Default 0: there is none.
	NearBytes int64
	// Replicated says that a Replica gives the server back what it loses. One that has
	// been emptied, and a new one, then answer with engine.ErrRefilling until it has.
	// Default false: what is not there is nowhere.
	Replicated bool
	// LogBytes bounds the log that is kept for peers, in all partitions together.
	// Default 256 MiB.
	LogBytes int64
	// KeepReleased is how long log entries stay that all peers have acknowledged.
	// Default 5 min (DESIGN R14).
	KeepReleased time.Duration
	// KeepLog is how long entries stay that some peer has not: one that was away for
	// longer compares all records, which costs no more by then. Default 15 min, or
	// KeepReleased if that is more.
	KeepLog time.Duration
	// SweepInterval is between two looks at what may be trimmed. Default 10 s.
	SweepInterval time.Duration
	// Log is told what nobody asked for, such as what could be set up better at the
	// server. Default: discarded.
	Log *slog.Logger

	alone bool // Addrs is one server that is read from, of a cluster or not
}

func (c Config) withDefaults() Config {
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
	return c
}

// check returns all that is wrong with c.
func (c Config) check(here crdt.Region) error {
	var faults []error
	fault := func(is bool, format string, args ...any) {
		if is {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(!here.Valid(), "region %d: want 1 to %d", here, crdt.MaxRegion)
	fault(len(c.Addrs) == 0, "Addrs is empty: want host:port of the server")
	for _, addr := range slices.Concat(c.Addrs, c.Replicas) {
		host, _, err := net.SplitHostPort(addr)
		fault(err != nil, "address %q: want host:port", addr)
		fault(err == nil && c.TLS == nil && !c.Plaintext && !isLoopback(host),
			"address %q is not of this machine: set TLS, or Plaintext if the network is trusted", addr)
	}
	fault(len(c.Targets) > 0 && (c.TLS == nil || c.TLS.ServerName != ""), "Targets say whose certificates are wanted: set TLS, without a ServerName")
	for _, t := range c.Targets {
		bare := strings.Trim(t, ".")
		fault(!strings.Contains(bare, ".") || strings.Contains(bare, "..") || strings.ContainsAny(bare, "*/: "),
			"target %q: want a name, or what names end with, such as .cache.amazonaws.com", t)
	}
	fault(c.LogBytes < 1<<20, "LogBytes %d: want 1 MiB or more", c.LogBytes)
	fault(len(c.Replicas) > maxReplicas, "%d Replicas: want %d at most", len(c.Replicas), maxReplicas)
	fault(c.NearBytes < 0, "NearBytes %d: want 0 or more", c.NearBytes)
	fault(c.KeepReleased < 0, "KeepReleased %v: want 0 or more", c.KeepReleased)
	fault(c.KeepLog < c.KeepReleased, "KeepLog %v: want KeepReleased or more, which is %v", c.KeepLog, c.KeepReleased)
	fault(c.SweepInterval < time.Millisecond, "SweepInterval %v: want 1 ms or more", c.SweepInterval)
	return errors.Join(faults...)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
