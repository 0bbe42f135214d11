//go:build integration

package awsdeploy

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"

	"github.com/roam-sessions/roam/fakeaws"
	"github.com/roam-sessions/roam/internal/awsplan"
)

// newDatastore starts fakes of AWS with a Global Datastore of real servers in two Regions, and returns a deployer of
// testPlan in it, and the Global Datastore's ID.
func newDatastore(t *testing.T) (*Deployer, string) {
	t.Helper()
	cloud, err := fakeaws.Start(t.Context(), fakeaws.Config{Regions: []string{west1, west2}, Times: &fakeaws.Times{
		Create: 50 * time.Millisecond, Join: 50 * time.Millisecond, Failover: 300 * time.Millisecond, Disassociate: 300 * time.Millisecond, Delete: 100 * time.Millisecond,
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cloud.Close() })
	key, secret := cloud.Credentials()
	c := aws.Config{Region: west1, BaseEndpoint: aws.String(cloud.FrontURL()), Credentials: credentials.NewStaticCredentialsProvider(key, secret, "")}
	d := New(c, testPlan(), testTemplate, Config{Poll: 50 * time.Millisecond, Within: time.Minute})
	create := func(region string, in *elasticache.CreateReplicationGroupInput) {
		in.ReplicationGroupId, in.ReplicationGroupDescription = aws.String("shop-"+region), aws.String("sessions")
		if _, err := d.cloud.cache(region).CreateReplicationGroup(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		err := d.until(t.Context(), "group", func() (bool, error) {
			g, err := d.group(t.Context(), region, "shop-"+region)
			return g != nil && g.status == "available", err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	create(west1, &elasticache.CreateReplicationGroupInput{
		Engine: aws.String("valkey"), EngineVersion: aws.String("8.2"), CacheNodeType: aws.String("cache.r7g.large"), NumCacheClusters: aws.Int32(2),
		AutomaticFailoverEnabled: aws.Bool(true), MultiAZEnabled: aws.Bool(true), AtRestEncryptionEnabled: aws.Bool(true),
	})
	made, err := d.cloud.cache(west1).CreateGlobalReplicationGroup(t.Context(), &elasticache.CreateGlobalReplicationGroupInput{
		GlobalReplicationGroupIdSuffix: aws.String("shop"), PrimaryReplicationGroupId: aws.String("shop-" + west1),
	})
	if err != nil {
		t.Fatal(err)
	}
	id := aws.ToString(made.GlobalReplicationGroup.GlobalReplicationGroupId)
	if said, err := d.waitGlobal(t.Context(), west1, id); err != nil || said != "primary-only" {
		t.Fatalf("waitGlobal = %q, %v, want primary-only", said, err)
	}
	create(west2, &elasticache.CreateReplicationGroupInput{GlobalReplicationGroupId: &id, NumCacheClusters: aws.Int32(1)})
	if said, err := d.waitGlobal(t.Context(), west2, id); err != nil || said != "available" {
		t.Fatalf("waitGlobal = %q, %v, want available", said, err)
	}
	return d, id
}

// A Global Datastore of real servers is taken apart while it fails over: whoever is the primary then stays, and all of
// it goes.
func TestTakeADatastoreApart(t *testing.T) {
	d, id := newDatastore(t)
	_, err := d.cloud.cache(west2).FailoverGlobalReplicationGroup(t.Context(), &elasticache.FailoverGlobalReplicationGroupInput{
		GlobalReplicationGroupId: &id, PrimaryRegion: aws.String(west2), PrimaryReplicationGroupId: aws.String("shop-" + west2),
	})
	if err != nil {
		t.Fatal(err)
	}
	if g, err := d.global(t.Context(), west1, id); err != nil || g.ready() {
		t.Errorf("it fails over, and is %v, %v; want not ready", g, err)
	}
	if _, err := d.endGroup(t.Context(), west2, "shop-"+west2, ""); err == nil || !strings.Contains(err.Error(), "still in Global Datastore "+id) {
		t.Errorf("a member's group: endGroup = %v, want a refusal", err)
	}
	if _, err := d.endGlobal(t.Context(), west1, id); err == nil || !strings.Contains(err.Error(), "still has secondaries") {
		t.Errorf("with secondaries: endGlobal = %v, want a refusal", err)
	}
	if said, err := d.part(t.Context(), west1, id); err != nil || said != "1 taken out" {
		t.Fatalf("part = %q, %v", said, err)
	}
	g, err := d.global(t.Context(), west2, id)
	if err != nil || g == nil || len(g.members) != 1 || g.primary() == nil || g.primary().region != west2 {
		t.Fatalf("after part it is %v, %v; want us-west-2 alone, the primary", g, err)
	}
	takeAway(t, d, id)
}

// takeAway carries out what is left of the way back, twice.
func takeAway(t *testing.T, d *Deployer, id string) {
	t.Helper()
	steps := []awsplan.Step{
		{Do: awsplan.DoDisassociate, Region: west1, Parameters: map[string]string{"Global": id}},
		{Do: awsplan.DoDeleteGlobal, Region: west1, Parameters: map[string]string{"Global": id}},
		{Do: awsplan.DoDeleteGroup, Region: west2, Parameters: map[string]string{"Group": "shop-" + west2}},
		{Do: awsplan.DoDeleteGroup, Region: west1, Parameters: map[string]string{"Group": "shop-" + west1}},
	}
	for _, want := range [][]string{{"nothing to do", "deleted; the primary's group stays", "deleted; snapshot: no snapshot", "deleted; snapshot: no snapshot"}, {"nothing to do", "nothing to do", "nothing is there", "nothing is there"}} {
		for i, s := range steps {
			if said, err := d.lower(t.Context(), s); err != nil || said != want[i] {
				t.Errorf("%s in %s = %q, %v, want %q", s.Do, s.Region, said, err, want[i])
			}
		}
	}
	for _, region := range []string{west1, west2} {
		if g, err := d.group(t.Context(), region, "shop-"+region); err != nil || g != nil {
			t.Errorf("the group of %s is %v, %v, want none", region, g, err)
		}
	}
}

// Status reads roles and topics of real servers' groups.
func TestStatusOfADatastore(t *testing.T) {
	d, id := newDatastore(t)
	v := view{globals: []string{id}, from: []string{west1, west2}, groups: map[string][]string{west1: {"shop-" + west1}, west2: {"shop-" + west2}}}
	rows := v.rows(t.Context(), d)
	if len(rows) != 3 || rows[0].Health != Well || !strings.Contains(rows[0].Seen, "us-west-1 primary associated, us-west-2 secondary associated") {
		t.Errorf("rows are %+v", rows)
	}
	for _, r := range rows[1:] {
		if r.Health != Warning || !strings.Contains(r.Seen, "tells nobody of events") {
			t.Errorf("a group without a topic: %+v", r)
		}
	}
}
