//go:build integration

package elasticache

import (
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
)

// A try is what was asked for, what came of it, and what should.
type try struct {
	what string
	err  error
	want string
}

func judge(t *testing.T, tries []try) {
	t.Helper()
	for _, c := range tries {
		if got := code(c.err); got != c.want {
			t.Errorf("%s: %s (%v), want %s", c.what, got, c.err, c.want)
		}
	}
}

func (w *world) failover(t *testing.T, global, region, group string) error {
	t.Helper()
	_, err := w.clients[west2].FailoverGlobalReplicationGroup(t.Context(), &elasticache.FailoverGlobalReplicationGroupInput{
		GlobalReplicationGroupId: &global, PrimaryRegion: &region, PrimaryReplicationGroupId: &group,
	})
	return err
}

func (w *world) disassociate(t *testing.T, global, region, group string) error {
	t.Helper()
	_, err := w.clients[west2].DisassociateGlobalReplicationGroup(t.Context(), &elasticache.DisassociateGlobalReplicationGroupInput{
		GlobalReplicationGroupId: &global, ReplicationGroupId: &group, ReplicationGroupRegion: &region,
	})
	return err
}

func TestErrorsOfGroups(t *testing.T) {
	w := begin(t, nil)
	id := w.datastore(t)
	type input = elasticache.CreateReplicationGroupInput
	create := func(region string, change func(in *input)) error {
		in := primaryInput("other")
		change(in)
		_, err := w.clients[region].CreateReplicationGroup(t.Context(), in)
		return err
	}
	modify := func(in *elasticache.ModifyReplicationGroupInput) error {
		in.ReplicationGroupId = aws.String("session-usw2")
		_, err := w.clients[west2].ModifyReplicationGroup(t.Context(), in)
		return err
	}
	_, records := w.clients[west2].DescribeReplicationGroups(t.Context(), &elasticache.DescribeReplicationGroupsInput{MaxRecords: aws.Int32(5)})
	judge(t, []try{
		{"a group twice", create(west1, func(in *input) { in.ReplicationGroupId = aws.String("session-usw1") }), "ReplicationGroupAlreadyExists"},
		{"a version of three parts", create(west1, func(in *input) { in.EngineVersion = aws.String("8.0.1") }), "InvalidParameterValue"},
		{"a name that is none", create(west1, func(in *input) { in.ReplicationGroupId = aws.String("a--b") }), "InvalidParameterValue"},
		{"failover without replica", create(west1, func(in *input) { in.ReplicasPerNodeGroup = aws.Int32(0) }), "InvalidParameterCombination"},
		{"a token without TLS", create(west1, func(in *input) { in.AuthToken = aws.String("sixteen-chars-ok") }), "InvalidParameterCombination"},
		{"a short token", create(west1, func(in *input) { in.AuthToken, in.TransitEncryptionEnabled = aws.String("short"), aws.Bool(true) }), "InvalidParameterValue"},
		{"a topic elsewhere", create(west1, func(in *input) { in.NotificationTopicArn = aws.String(topicOf) }), "InvalidParameterValue"},
		{"what a secondary inherits", create(east1, func(in *input) { in.GlobalReplicationGroupId = &id }), "InvalidParameterCombination"},
		{"too many nodes", create(west1, func(in *input) { in.ReplicasPerNodeGroup = aws.Int32(6) }), "InvalidParameterValue"},
		{"few records", records, "InvalidParameterValue"},
		{"modified member", modify(&elasticache.ModifyReplicationGroupInput{CacheNodeType: aws.String("cache.r7g.xlarge")}), "InvalidReplicationGroupState"},
		{"modified what is not known", modify(&elasticache.ModifyReplicationGroupInput{SnapshotWindow: aws.String("x")}), "InvalidParameterCombination"},
	})
}

func TestErrorsOfGlobals(t *testing.T) {
	w := begin(t, func(c *Config) { c.Times.Failover = 200 * time.Millisecond })
	id := w.datastore(t)
	ctx := t.Context()
	global := func(region, suffix, group string) error {
		_, err := w.clients[region].CreateGlobalReplicationGroup(ctx, &elasticache.CreateGlobalReplicationGroupInput{
			GlobalReplicationGroupIdSuffix: &suffix, PrimaryReplicationGroupId: &group,
		})
		return err
	}
	join := func(region, global string) error {
		_, err := w.clients[region].CreateReplicationGroup(ctx, &elasticache.CreateReplicationGroupInput{
			ReplicationGroupId: aws.String("other"), ReplicationGroupDescription: aws.String("x"), GlobalReplicationGroupId: &global,
		})
		return err
	}
	_, nothing := w.clients[west2].DescribeGlobalReplicationGroups(ctx, &elasticache.DescribeGlobalReplicationGroupsInput{GlobalReplicationGroupId: aws.String("x")})
	judge(t, []try{
		{"no global", nothing, "GlobalReplicationGroupNotFoundFault"},
		{"a global twice", global(west1, "sessions", "session-usw1"), "GlobalReplicationGroupAlreadyExistsFault"},
		{"a member's global", global(west2, "others", "session-usw2"), "InvalidReplicationGroupState"},
		{"a global of nothing", global(west1, "others", "x"), "ReplicationGroupNotFoundFault"},
		{"a secondary of nothing", join(east1, "x"), "GlobalReplicationGroupNotFoundFault"},
		{"a second member in a Region", join(west2, id), "InvalidParameterValue"},
		{"failover of no global", w.failover(t, "x", west2, "session-usw2"), "GlobalReplicationGroupNotFoundFault"},
		{"failover to the primary", w.failover(t, id, west1, "session-usw1"), "InvalidParameterValue"},
		{"failover to a stranger", w.failover(t, id, west1, "session-usw2"), "InvalidParameterValue"},
		{"disassociated primary", w.disassociate(t, id, west1, "session-usw1"), "InvalidParameterValue"},
		{"disassociated stranger", w.disassociate(t, id, west1, "x"), "InvalidParameterValue"},
	})
	if err := w.failover(t, id, west2, "session-usw2"); err != nil {
		t.Fatal(err)
	}
	err := w.failover(t, id, west2, "session-usw2")
	if _, ok := errors.AsType[*types.InvalidGlobalReplicationGroupStateFault](err); !ok {
		t.Errorf("failover during failover: %v", err)
	}
	judge(t, []try{
		{"disassociated during failover", w.disassociate(t, id, west2, "session-usw2"), "InvalidGlobalReplicationGroupState"},
		{"joined during failover", join(east1, id), "InvalidGlobalReplicationGroupState"},
	})
	w.settled(t, id, "available")
}
