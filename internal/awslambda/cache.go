package awslambda

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	"github.com/aws/smithy-go"
)

// A CacheClient asks ElastiCache in one Region.
type CacheClient interface {
	// DescribeReplicationGroups describes groups of the Region.
	DescribeReplicationGroups(ctx context.Context, in *elasticache.DescribeReplicationGroupsInput, f ...func(*elasticache.Options)) (*elasticache.DescribeReplicationGroupsOutput, error)
	// DescribeGlobalReplicationGroups describes Global Datastores with their members.
	DescribeGlobalReplicationGroups(ctx context.Context, in *elasticache.DescribeGlobalReplicationGroupsInput, f ...func(*elasticache.Options)) (*elasticache.DescribeGlobalReplicationGroupsOutput, error)
	// FailoverGlobalReplicationGroup makes a secondary the primary.
	FailoverGlobalReplicationGroup(ctx context.Context, in *elasticache.FailoverGlobalReplicationGroupInput, f ...func(*elasticache.Options)) (*elasticache.FailoverGlobalReplicationGroupOutput, error)
}

const (
	// cacheTimeout is how long one answer of ElastiCache may take.
	cacheTimeout = 4 * time.Second
	// cacheTries is how often one question is asked. The schedule asks again in a minute.
	cacheTries = 3
	// cachePause is about how long to wait between two.
	cachePause = 400 * time.Millisecond
)

// look asks ElastiCache what it says of a place.
func look(ctx context.Context, client CacheClient, p Place) (View, error) {
	var v View
	if err := again(ctx, func(ctx context.Context) error { return v.group(ctx, client, p) }); err != nil {
		return View{}, fmt.Errorf("describe replication group %s: %w", p.Group, err)
	}
	if v.Global == "" {
		return v, nil
	}
	if err := again(ctx, func(ctx context.Context) error { return v.global(ctx, client, v.Global) }); err != nil {
		return View{}, fmt.Errorf("describe Global Datastore %s: %w", v.Global, err)
	}
	return v, nil
}

func (v *View) group(ctx context.Context, client CacheClient, p Place) error {
	out, err := client.DescribeReplicationGroups(ctx, &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: &p.Group})
	if missing := new(types.ReplicationGroupNotFoundFault); errors.As(err, &missing) {
		return nil
	}
	if err != nil {
		return err
	}
	for i := range out.ReplicationGroups {
		g := &out.ReplicationGroups[i]
		if text(g.ReplicationGroupId) != p.Group {
			continue
		}
		v.Found, v.Status, v.Endpoint = true, text(g.Status), endpoint(g)
		if info := g.GlobalReplicationGroupInfo; info != nil {
			v.Global, v.Role = text(info.GlobalReplicationGroupId), text(info.GlobalReplicationGroupMemberRole)
		}
	}
	return nil
}

// endpoint returns where a group takes writes: in cluster mode its configuration endpoint, by
// which clients find the nodes.
func endpoint(g *types.ReplicationGroup) string {
	if e := g.ConfigurationEndpoint; e != nil {
		return text(e.Address)
	}
	if len(g.NodeGroups) == 1 && g.NodeGroups[0].PrimaryEndpoint != nil {
		return text(g.NodeGroups[0].PrimaryEndpoint.Address)
	}
	return ""
}

func (v *View) global(ctx context.Context, client CacheClient, id string) error {
	show := true
	out, err := client.DescribeGlobalReplicationGroups(ctx, &elasticache.DescribeGlobalReplicationGroupsInput{GlobalReplicationGroupId: &id, ShowMemberInfo: &show})
	if missing := new(types.GlobalReplicationGroupNotFoundFault); errors.As(err, &missing) {
		return nil
	}
	if err != nil {
		return err
	}
	v.GlobalFound, v.Members = false, nil
	for i := range out.GlobalReplicationGroups {
		g := &out.GlobalReplicationGroups[i]
		if text(g.GlobalReplicationGroupId) != id {
			continue
		}
		v.GlobalFound, v.GlobalStatus = true, text(g.Status)
		for _, m := range g.Members {
			v.Members = append(v.Members, Member{text(m.ReplicationGroupId), text(m.ReplicationGroupRegion), text(m.Role)})
		}
	}
	return nil
}

// again asks up to cacheTries times, within ctx. What is refused is not asked again.
func again(ctx context.Context, ask func(context.Context) error) error {
	var err error
	for try := 1; ; try++ {
		once, cancel := context.WithTimeout(ctx, cacheTimeout)
		err = ask(once)
		cancel()
		if err == nil || try == cacheTries || refused(err) || !pause(ctx, cachePause<<(try-1)) {
			return err
		}
	}
}

// refused reports whether an error of AWS stays whatever is tried again: a wrong right, a wrong
// key or a wrong question. A throttle and what is AWS's own fault do not.
func refused(err error) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch api.ErrorCode() {
	case "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "OptInRequired",
		"InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "InvalidSignatureException",
		"IncompleteSignature", "MissingAuthenticationToken", "MissingAuthenticationTokenException",
		"InvalidAction", "InvalidParameterValue", "InvalidParameterCombination", "ValidationError", "ValidationException":
		return true
	}
	return false
}

func text(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}
