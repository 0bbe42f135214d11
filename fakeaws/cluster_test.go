//go:build integration

package fakeaws_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"

	"github.com/roam-sessions/roam/crdt"
	roamvalkey "github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/fakeaws"
)

// clusters is datastore with cluster mode enabled: three shards, with TLS and a token.
func (c *cloud) clusters(t *testing.T) (id string, topics map[string]string) {
	t.Helper()
	return c.datastoreOf(t, true, func(in *elasticache.CreateReplicationGroupInput) {
		in.NumNodeGroups, in.CacheParameterGroupName = aws.Int32(3), aws.String("default.valkey8.cluster.on")
	})
}

// configuration returns the host of a cluster's configuration endpoint.
func (c *cloud) configuration(t *testing.T, region, id string) string {
	t.Helper()
	out, err := c.elasticache(region).DescribeReplicationGroups(t.Context(), &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: &id})
	if err != nil {
		t.Fatal(err)
	}
	return *out.ReplicationGroups[0].ConfigurationEndpoint.Address
}

// openCluster opens Roam's engine by a name.
func (c *cloud) openCluster(t *testing.T, name string, change func(*roamvalkey.Config)) *roamvalkey.Engine {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(bytes.TrimSpace(c.CA())) {
		t.Fatal("no certificate")
	}
	config := roamvalkey.Config{
		Addrs: []string{net.JoinHostPort(name, "6379")}, Password: "correct-horse-battery", TLS: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool},
		Targets: roamvalkey.ElastiCacheNames(), Resolver: c.Resolver(),
	}
	if change != nil {
		change(&config)
	}
	e, err := roamvalkey.Open(t.Context(), 1, config)
	if err != nil {
		t.Fatalf("Open %s = %v", name, err)
	}
	t.Cleanup(func() { _ = e.Close() }) // never fails
	return e
}

// Sessions in clusters go on in the other Region after a failover, as those of one shard do: the
// writer's name leads to a configuration endpoint, and that to nodes with certificates of their own.
func TestSessionsInClusters(t *testing.T) {
	c := start(t, fakeaws.Config{Propagation: 20 * time.Millisecond})
	if missing(t) {
		return
	}
	id, _ := c.clusters(t)
	zone := c.zone(t)
	first, second := c.configuration(t, west1, "session-usw1"), c.configuration(t, west2, "session-usw2")
	if !strings.HasPrefix(first, "clustercfg.session-usw1.") {
		t.Errorf("the endpoint is %s", first)
	}
	c.point(t, zone, first)
	writer := c.openCluster(t, write, nil)
	reader := c.openCluster(t, second, nil)
	near := c.openCluster(t, first, func(c *roamvalkey.Config) { c.ClusterReplicas, c.NearBytes = true, 1<<20 })
	var keys []crdt.Key
	for range 30 { // of all shards
		k, err := bornAs(t.Context(), writer)
		if err != nil {
			t.Fatalf("a session begins: %v", err)
		}
		keys = append(keys, k)
	}
	for what, e := range map[string]*roamvalkey.Engine{"the other Region": reader, "replicas": near} {
		soon(t, what+": sessions are missing", func() bool { return has(t, e, keys) })
	}
	if _, err := bornAs(t.Context(), reader); err == nil {
		t.Error("the secondary takes writes")
	}
	c.failover(t, id)
	c.settled(t, id, "available")
	c.point(t, zone, second)
	soon(t, "she does not write in the other Region", func() bool { _, err := bornAs(t.Context(), writer); return err == nil })
	if !has(t, writer, keys) {
		t.Error("sessions are gone")
	}
	k, err := bornAs(t.Context(), writer)
	if err != nil {
		t.Fatal(err)
	}
	soon(t, "the old primary does not follow", func() bool { return has(t, near, []crdt.Key{k}) })

	// A shard's failover within the Region goes unnoticed.
	_, err = c.elasticache(west1).TestFailover(t.Context(), &elasticache.TestFailoverInput{ReplicationGroupId: aws.String("session-usw1"), NodeGroupId: aws.String("0002")})
	if err != nil {
		t.Fatal(err)
	}
	soon(t, "the shard's failover does not end", func() bool { return *c.group(t, west1, "session-usw1") == "available" })
	if k, err = bornAs(t.Context(), writer); err != nil {
		t.Fatal(err)
	}
	soon(t, "after a shard's failover sessions are missing", func() bool { return has(t, near, append(keys, k)) })
}

// has reports whether an engine has sessions.
func has(t *testing.T, e *roamvalkey.Engine, keys []crdt.Key) bool {
	t.Helper()
	for _, k := range keys {
		if r, err := e.Read(t.Context(), k, crdt.Token{}); err != nil || r.IsBottom() {
			return false
		}
	}
	return true
}

// Roam's own function has the record follow the primary of clusters too, and it leads to a
// configuration endpoint.
func TestFailoverOfClustersMovesTheRecord(t *testing.T) {
	c := start(t, fakeaws.Config{Propagation: 50 * time.Millisecond})
	if missing(t) {
		return
	}
	id, topics := c.clusters(t)
	zone := c.zone(t)
	functions := c.follow(t, topics, func(group string) map[string]string {
		return map[string]string{lambdaEnv: "1", "ROAM_GROUP": group, "ROAM_GLOBAL": id, "ROAM_DRIVE": "record", "ROAM_ZONE": zone, "ROAM_NAME": write}
	})
	if err := c.Schedule(functions[west1], time.Second); err != nil {
		t.Fatal(err)
	}
	leads := func(prefix string) func() bool {
		return func() bool {
			name, err := c.Resolver().LookupCNAME(t.Context(), write)
			return err == nil && strings.HasPrefix(name, prefix)
		}
	}
	soon(t, "the record is not there", leads("clustercfg.session-usw1."))
	e := c.openCluster(t, write, nil)
	if _, err := bornAs(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	c.failover(t, id)
	soon(t, "the record does not move", leads("clustercfg.session-usw2."))
	soon(t, "no writes at the name", func() bool { _, err := bornAs(t.Context(), e); return err == nil })
	if dead := c.DeadLetters(); len(dead) != 0 {
		t.Errorf("dead letters: %+v", dead)
	}
}
