//go:build integration

package valkey_test

import (
	"crypto/tls"
	"errors"
	"strings"
	"testing"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/enginetest"
	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

func TestPromises(t *testing.T) {
	t.Parallel() // it mostly waits
	enginetest.Run(t, func(t *testing.T, here crdt.Region) engine.Engine {
		return open(t, here, valkey.Config{Addrs: []string{valkeytest.Start(t).Addr}})
	}, enginetest.Options{})
}

// With a near-cache it is the same engine.
func TestPromisesWithNearCache(t *testing.T) {
	t.Parallel() // it mostly waits
	enginetest.Run(t, func(t *testing.T, here crdt.Region) engine.Engine {
		return open(t, here, valkey.Config{Addrs: []string{valkeytest.Start(t).Addr}, NearBytes: 4 << 20})
	}, enginetest.Options{})
}

// Redis 7 has all that the functions use.
func TestPromisesOfRedis(t *testing.T) {
	t.Parallel() // it mostly waits
	enginetest.Run(t, func(t *testing.T, here crdt.Region) engine.Engine {
		return open(t, here, valkey.Config{Addrs: []string{valkeytest.StartRedis(t).Addr}})
	}, enginetest.Options{})
}

// A cluster of three primaries keeps the same promises.
func TestPromisesOfCluster(t *testing.T) {
	t.Parallel() // it mostly waits
	clusters := map[crdt.Region][]*valkeytest.Server{1: valkeytest.StartCluster(t, 3), 2: valkeytest.StartCluster(t, 3)}
	found, err := valkey.Examine(t.Context(), valkey.Config{Addrs: []string{clusters[1][0].Addr}})
	if err != nil || len(found) != 3 || !found[0].Cluster || !found[2].Cluster {
		t.Errorf("Examine = %+v, %v; want three servers of a cluster", found, err)
	}
	enginetest.Run(t, func(t *testing.T, here crdt.Region) engine.Engine {
		var addrs []string
		for _, s := range clusters[here] {
			s.Do("FLUSHALL", "SYNC")
			addrs = append(addrs, s.Addr)
		}
		return open(t, here, valkey.Config{Addrs: addrs})
	}, enginetest.Options{})
}

// Over TLS, as a user that may do no more than the engine does.
func TestPromisesOfTLSAndACL(t *testing.T) {
	t.Parallel() // it mostly waits
	acl := strings.Fields("--user roam on >secret resetchannels -@all " + valkey.ACL())
	enginetest.Run(t, func(t *testing.T, here crdt.Region) engine.Engine {
		addr, trust := valkeytest.StartTLS(t, acl...)
		return open(t, here, valkey.Config{Addrs: []string{addr}, Username: "roam", Password: "secret", TLS: trust, NearBytes: 1 << 20})
	}, enginetest.Options{})
}

// The user of valkey.ACL may do all that there is: hear of changes, measure a replica,
// be looked at.
func TestACLIsEnough(t *testing.T) {
	acl := strings.Fields("--user roam on >secret resetchannels -@all " + valkey.ACL())
	addr, trust := valkeytest.StartTLS(t, acl...)
	c := valkey.Config{Addrs: []string{addr}, Username: "roam", Password: "secret", TLS: trust, NearBytes: 1 << 20}
	e := open(t, 1, c)
	until(t, "changes are heard of", func() bool { return e.NearCache().Trusted })
	echo := valkey.NewEcho(t.Context(), e, e, valkey.EchoConfig{})
	t.Cleanup(func() { _ = echo.Close() }) // never fails
	until(t, "a number comes back", func() bool { _, ok := echo.Heard(1); return ok })
	if found, err := valkey.Examine(t.Context(), c); err != nil || len(found) != 1 || !found[0].Functions || !found[0].Forgets {
		t.Errorf("Examine = %+v, %v; want one server that has the functions and keeps nothing on disk", found, err)
	}
}

// A certificate is verified, by the name that was connected to.
func TestCertificateIsVerified(t *testing.T) {
	addr, trust := valkeytest.StartTLS(t)
	for name, c := range map[string]*tls.Config{
		"unknown signer": {MinVersion: tls.VersionTLS12},
		"another name":   {MinVersion: tls.VersionTLS12, RootCAs: trust.RootCAs, ServerName: "elsewhere"},
	} {
		e, err := valkey.Open(t.Context(), 1, valkey.Config{Addrs: []string{addr}, TLS: c})
		if err == nil {
			_ = e.Close() // never fails
		}
		if !errors.Is(err, engine.ErrUnreachable) {
			t.Errorf("%s: Open = %v, want ErrUnreachable", name, err)
		}
	}
}

func open(t testing.TB, here crdt.Region, c valkey.Config) *valkey.Engine {
	t.Helper()
	e, err := valkey.Open(t.Context(), here, c)
	if err != nil {
		t.Fatalf("Open(%d, %v) = %v, want an engine", here, c.Addrs, err)
	}
	t.Cleanup(func() { _ = e.Close() }) // never fails
	return e
}
