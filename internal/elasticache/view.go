package elasticache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	"github.com/aws/smithy-go"

	"github.com/roam-sessions/roam/internal/pause"
)

// A Client asks ElastiCache in one Region.
type Client interface {
	// DescribeReplicationGroups describes groups of the Region.
	DescribeReplicationGroups(ctx context.Context, in *sdk.DescribeReplicationGroupsInput, f ...func(*sdk.Options)) (*sdk.DescribeReplicationGroupsOutput, error)
	// DescribeGlobalReplicationGroups describes Global Datastores with their members.
	DescribeGlobalReplicationGroups(ctx context.Context, in *sdk.DescribeGlobalReplicationGroupsInput, f ...func(*sdk.Options)) (*sdk.DescribeGlobalReplicationGroupsOutput, error)
	// FailoverGlobalReplicationGroup makes a secondary the primary.
	FailoverGlobalReplicationGroup(ctx context.Context, in *sdk.FailoverGlobalReplicationGroupInput, f ...func(*sdk.Options)) (*sdk.FailoverGlobalReplicationGroupOutput, error)
	// DisassociateGlobalReplicationGroup takes a secondary out, which takes writes then.
	DisassociateGlobalReplicationGroup(ctx context.Context, in *sdk.DisassociateGlobalReplicationGroupInput, f ...func(*sdk.Options)) (*sdk.DisassociateGlobalReplicationGroupOutput, error)
}

// A View is what ElastiCache says in one Region.
type View struct {
	// Of the Region's own replication group.
	Found    bool
	Status   string
	Global   string // the Global Datastore that it is a member of; empty: none
	Role     string
	Endpoint string // by which it takes writes; empty: it has none yet

	// Of the Global Datastore.
	GlobalFound  bool
	GlobalStatus string
	Members      []Member
}

// A Member is one Region's group in a Global Datastore.
type Member struct{ Group, Region, Role string }

const (
	// AskTimeout is how long one answer may take.
	AskTimeout = 4 * time.Second
	// AskTries is how often one question is asked at most.
	AskTries = 3
	// askPause is about how long to wait between two.
	askPause = 400 * time.Millisecond
)

// Look asks ElastiCache what it says of a Region's group.
func Look(ctx context.Context, client Client, group string) (View, error) {
	var v View
	if err := Again(ctx, func(ctx context.Context) error { return v.group(ctx, client, group) }); err != nil {
		return View{}, fmt.Errorf("describe replication group %s: %w", group, err)
	}
	if v.Global == "" {
		return v, nil
	}
	if err := Again(ctx, func(ctx context.Context) error { return v.global(ctx, client, v.Global) }); err != nil {
		return View{}, fmt.Errorf("describe Global Datastore %s: %w", v.Global, err)
	}
	return v, nil
}

func (v *View) group(ctx context.Context, client Client, id string) error {
	out, err := client.DescribeReplicationGroups(ctx, &sdk.DescribeReplicationGroupsInput{ReplicationGroupId: &id})
	if missing := new(types.ReplicationGroupNotFoundFault); errors.As(err, &missing) {
		return nil
	}
	if err != nil {
		return err
	}
	for i := range out.ReplicationGroups {
		g := &out.ReplicationGroups[i]
		if aws.ToString(g.ReplicationGroupId) != id {
			continue
		}
		v.Found, v.Status, v.Endpoint = true, aws.ToString(g.Status), endpoint(g)
		if info := g.GlobalReplicationGroupInfo; info != nil {
			v.Global, v.Role = aws.ToString(info.GlobalReplicationGroupId), aws.ToString(info.GlobalReplicationGroupMemberRole)
		}
	}
	return nil
}

// endpoint returns where a group takes writes: in cluster mode its configuration endpoint, by
// which clients find the nodes.
func endpoint(g *types.ReplicationGroup) string {
	if e := g.ConfigurationEndpoint; e != nil {
		return aws.ToString(e.Address)
	}
	if len(g.NodeGroups) == 1 && g.NodeGroups[0].PrimaryEndpoint != nil {
		return aws.ToString(g.NodeGroups[0].PrimaryEndpoint.Address)
	}
	return ""
}

func (v *View) global(ctx context.Context, client Client, id string) error {
	show := true
	out, err := client.DescribeGlobalReplicationGroups(ctx, &sdk.DescribeGlobalReplicationGroupsInput{GlobalReplicationGroupId: &id, ShowMemberInfo: &show})
	if missing := new(types.GlobalReplicationGroupNotFoundFault); errors.As(err, &missing) {
		return nil
	}
	if err != nil {
		return err
	}
	v.GlobalFound, v.Members = false, nil
	for i := range out.GlobalReplicationGroups {
		g := &out.GlobalReplicationGroups[i]
		if aws.ToString(g.GlobalReplicationGroupId) != id {
			continue
		}
		v.GlobalFound, v.GlobalStatus = true, aws.ToString(g.Status)
		for _, m := range g.Members {
			v.Members = append(v.Members, Member{aws.ToString(m.ReplicationGroupId), aws.ToString(m.ReplicationGroupRegion), aws.ToString(m.Role)})
		}
	}
	return nil
}

// Again asks AWS something up to three times, within ctx. What is refused is not asked again.
func Again(ctx context.Context, ask func(context.Context) error) error {
	var err error
	for try := 1; ; try++ {
		once, cancel := context.WithTimeout(ctx, AskTimeout)
		err = ask(once)
		cancel()
		if err == nil || try == AskTries || Refused(err) || !pause.About(ctx, askPause<<(try-1)) {
			return err
		}
	}
}

// Refused reports whether an error of AWS stays whatever is tried again: a wrong right, a wrong
// key or a wrong question. A throttle and what is AWS's own fault do not.
func Refused(err error) bool {
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

// Unfit reports whether ElastiCache said that the primary of a Global Datastore can't be moved
// as things are now.
func Unfit(err error) bool {
	state := new(types.InvalidGlobalReplicationGroupStateFault)
	missing := new(types.GlobalReplicationGroupNotFoundFault)
	return errors.As(err, &state) || errors.As(err, &missing)
}
