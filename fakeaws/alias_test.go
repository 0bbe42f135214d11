//go:build integration

package fakeaws_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	roamvalkey "github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/fakeaws"
)

// other is a name of the zone that is no endpoint's.
const other = "other.session.internal"

// put makes a record, or changes it.
func (c *cloud) put(t *testing.T, zone, name string, kind types.RRType, value string) {
	t.Helper()
	soon(t, "the zone takes no change", func() bool {
		_, err := c.route53().ChangeResourceRecordSets(t.Context(), &route53.ChangeResourceRecordSetsInput{
			HostedZoneId: &zone, ChangeBatch: &types.ChangeBatch{Changes: []types.Change{{Action: "UPSERT", ResourceRecordSet: &types.ResourceRecordSet{
				Name: &name, Type: kind, TTL: aws.Int64(1), ResourceRecords: []types.ResourceRecord{{Value: &value}},
			}}}},
		})
		return err == nil
	})
}

// point has the writer's name lead to a host.
func (c *cloud) point(t *testing.T, zone, host string) {
	t.Helper()
	c.put(t, zone, write, "CNAME", host)
	soon(t, "the name does not lead to "+host, func() bool {
		name, err := c.Resolver().LookupCNAME(t.Context(), write)
		return err == nil && strings.TrimSuffix(name, ".") == host
	})
}

// endpoint returns the host of a group's primary endpoint.
func (c *cloud) endpoint(t *testing.T, region, id string) string {
	t.Helper()
	out, err := c.elasticache(region).DescribeReplicationGroups(t.Context(), &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: &id})
	if err != nil {
		t.Fatal(err)
	}
	return *out.ReplicationGroups[0].NodeGroups[0].PrimaryEndpoint.Address
}

// An application that dials the writer's name connects, though no server has a certificate of
// that name: it wants one of what the name leads to. When the name leads to the other Region
// she writes there; where it leads elsewhere she writes nowhere.
func TestDialTheWritersName(t *testing.T) {
	c := start(t, fakeaws.Config{Propagation: 20 * time.Millisecond})
	if missing(t) {
		return
	}
	id, _ := c.datastore(t, true)
	zone := c.zone(t)
	first, second := c.endpoint(t, west1, "session-usw1"), c.endpoint(t, west2, "session-usw2")
	c.point(t, zone, first)
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(bytes.TrimSpace(c.CA())) {
		t.Fatal("no certificate")
	}
	open := func(targets ...string) (*roamvalkey.Engine, error) {
		e, err := roamvalkey.Open(t.Context(), 1, roamvalkey.Config{
			Addrs: []string{write + ":6379"}, Password: "correct-horse-battery", TLS: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool},
			Targets: targets, Resolver: c.Resolver(),
		})
		if err == nil {
			t.Cleanup(func() { _ = e.Close() }) // never fails
		}
		return e, err
	}
	e, err := open(first, second)
	if err != nil {
		t.Fatalf("by the names of both endpoints: Open = %v", err)
	}
	if _, err := open(roamvalkey.ElastiCacheNames()...); err != nil {
		t.Errorf("by what names of ElastiCache end with: Open = %v", err)
	}
	for what, targets := range map[string][]string{"no target": nil, "another suffix": {".elsewhere.example"}, "the other endpoint": {second}} {
		if _, err := open(targets...); !errors.Is(err, engine.ErrUnreachable) {
			t.Errorf("%s: Open = %v, want ErrUnreachable", what, err)
		}
	}
	if err := born(t.Context(), e); err != nil {
		t.Fatalf("a session begins: %v", err)
	}
	c.failover(t, id)
	c.settled(t, id, "available")
	c.point(t, zone, second)
	soon(t, "she does not write in the other Region", func() bool { return born(t.Context(), e) == nil })

	// Whoever can change the zone alone can't have her write elsewhere.
	c.put(t, zone, other, "A", "127.0.0.1")
	c.point(t, zone, other)
	if _, err := open(first, second); !errors.Is(err, engine.ErrUnreachable) || !strings.Contains(err.Error(), "no alias") {
		t.Errorf("where the name leads elsewhere: Open = %v, want that it is no alias of what is allowed", err)
	}
}

// born has a session begin.
func born(ctx context.Context, e *roamvalkey.Engine) error {
	_, err := bornAs(ctx, e)
	return err
}

// bornAs returns the session's key.
func bornAs(ctx context.Context, e *roamvalkey.Engine) (crdt.Key, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var entropy crdt.IDEntropy
	_, _ = rand.Read(entropy[:]) // never fails
	now := crdt.TimeOf(time.Now())
	k := crdt.SessionKey(crdt.NewSessionID(now.Add(time.Hour), 1, entropy))
	_, err := e.Apply(ctx, k, crdt.Op{Stamp: now.Stamp() + 1, Birth: &crdt.Birth{}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}, User: "ann"})
	return k, err
}
