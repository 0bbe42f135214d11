package awsdeploy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
)

// A global is what ElastiCache says of a Global Datastore.
type global struct {
	id, status string
	members    []member
}

// A member is a replication group of a Global Datastore.
type member struct{ group, region, role, status string }

func (m member) primary() bool { return strings.EqualFold(m.role, "PRIMARY") }

// String returns it in words.
func (g *global) String() string {
	parts := make([]string, 0, len(g.members))
	for _, m := range g.members {
		parts = append(parts, fmt.Sprintf("%s %s %s", m.region, strings.ToLower(m.role), m.status))
	}
	return fmt.Sprintf("Global Datastore %s is %s: %s", g.id, g.status, strings.Join(parts, ", "))
}

// primary returns the one member that is the primary; nil: none is, or several say so.
func (g *global) primary() *member {
	var out *member
	for i := range g.members {
		if !g.members[i].primary() {
			continue
		}
		if out != nil {
			return nil
		}
		out = &g.members[i]
	}
	return out
}

// secondaries returns all members but the primary.
func (g *global) secondaries() []member {
	return slices.DeleteFunc(slices.Clone(g.members), member.primary)
}

// ready reports whether it can be changed: no member joins or leaves, nothing fails over.
func (g *global) ready() bool {
	return slices.Contains([]string{"available", "primary-only"}, g.status) &&
		!slices.ContainsFunc(g.members, func(m member) bool { return m.status != "associated" })
}

// global asks for a Global Datastore by its ID; nil: there is none.
func (d *Deployer) global(ctx context.Context, region, id string) (*global, error) {
	var out *elasticache.DescribeGlobalReplicationGroupsOutput
	err := d.cloud.again(ctx, func(ctx context.Context) (err error) {
		out, err = d.cloud.cache(region).DescribeGlobalReplicationGroups(ctx, &elasticache.DescribeGlobalReplicationGroupsInput{
			GlobalReplicationGroupId: &id, ShowMemberInfo: aws.Bool(true),
		})
		return err
	})
	if coded(err, "GlobalReplicationGroupNotFoundFault") {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("describe Global Datastore %s in %s: %w", id, region, err)
	}
	for i := range out.GlobalReplicationGroups {
		g := &out.GlobalReplicationGroups[i]
		if aws.ToString(g.GlobalReplicationGroupId) != id {
			continue
		}
		is := &global{id: id, status: aws.ToString(g.Status)}
		for _, m := range g.Members {
			is.members = append(is.members, member{
				aws.ToString(m.ReplicationGroupId), aws.ToString(m.ReplicationGroupRegion), aws.ToString(m.Role), aws.ToString(m.Status),
			})
		}
		return is, nil
	}
	return nil, nil
}

// A group is what ElastiCache says of a replication group.
type group struct {
	status, global string
	nodes          []string
}

// group asks for a replication group by its ID; nil: there is none.
func (d *Deployer) group(ctx context.Context, region, id string) (*group, error) {
	var out *elasticache.DescribeReplicationGroupsOutput
	err := d.cloud.again(ctx, func(ctx context.Context) (err error) {
		out, err = d.cloud.cache(region).DescribeReplicationGroups(ctx, &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: &id})
		return err
	})
	if coded(err, "ReplicationGroupNotFoundFault") {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("describe replication group %s in %s: %w", id, region, err)
	}
	for i := range out.ReplicationGroups {
		g := &out.ReplicationGroups[i]
		if aws.ToString(g.ReplicationGroupId) != id {
			continue
		}
		is := &group{status: aws.ToString(g.Status), nodes: g.MemberClusters}
		if g.GlobalReplicationGroupInfo != nil {
			is.global = aws.ToString(g.GlobalReplicationGroupInfo.GlobalReplicationGroupId)
		}
		return is, nil
	}
	return nil, nil
}

// topic returns the topic that a node tells of events, and whether it can; both empty: none.
func (d *Deployer) topic(ctx context.Context, region, node string) (arn, status string, err error) {
	var out *elasticache.DescribeCacheClustersOutput
	err = d.cloud.again(ctx, func(ctx context.Context) (err error) {
		out, err = d.cloud.cache(region).DescribeCacheClusters(ctx, &elasticache.DescribeCacheClustersInput{CacheClusterId: &node})
		return err
	})
	if err != nil {
		return "", "", fmt.Errorf("describe cache cluster %s in %s: %w", node, region, err)
	}
	for i := range out.CacheClusters {
		if n := out.CacheClusters[i].NotificationConfiguration; n != nil {
			return aws.ToString(n.TopicArn), aws.ToString(n.TopicStatus), nil
		}
	}
	return "", "", nil
}

// known reports whether an output names a Global Datastore. Stacks of one Region alone have none, and say so.
func known(id string) bool { return id != "" && id != "none" }

// part takes all members out of a Global Datastore but the one that is the primary now, one after the other, and waits.
func (d *Deployer) part(ctx context.Context, region, id string) (string, error) {
	if !known(id) {
		return "nothing is there", nil
	}
	taken := 0
	err := d.until(ctx, "Global Datastore "+id, func() (bool, error) {
		g, err := d.global(ctx, region, id)
		if err != nil || g == nil {
			return true, err
		}
		if g.primary() == nil && len(g.members) > 0 {
			return false, fmt.Errorf("%s\n→ of its members not just one is the primary: look at it in ElastiCache's console", g)
		}
		rest := g.secondaries()
		if len(rest) == 0 {
			return true, nil
		}
		if !g.ready() {
			return false, nil
		}
		taken++
		return false, d.leave(ctx, region, g.id, rest[0])
	})
	switch {
	case err != nil:
		return "", err
	case taken == 0:
		return "nothing to do", nil
	}
	return fmt.Sprintf("%d taken out", taken), nil
}

// leave asks for one member to be taken out. What ElastiCache says of a member that is on its way out already is no
// error: whoever asks looks again.
func (d *Deployer) leave(ctx context.Context, region, id string, m member) error {
	d.note("taking %s in %s out of %s", m.group, m.region, id)
	err := d.cloud.again(ctx, func(ctx context.Context) error {
		_, err := d.cloud.cache(region).DisassociateGlobalReplicationGroup(ctx, &elasticache.DisassociateGlobalReplicationGroupInput{
			GlobalReplicationGroupId: &id, ReplicationGroupId: &m.group, ReplicationGroupRegion: &m.region,
		})
		return err
	})
	if err == nil || coded(err, "InvalidGlobalReplicationGroupState", "GlobalReplicationGroupNotFoundFault") {
		return nil
	}
	if g, lost := d.global(ctx, region, id); lost == nil && (g == nil || !slices.Contains(g.members, m)) {
		return nil // it went, and the answer was lost
	}
	return fmt.Errorf("take %s in %s out of Global Datastore %s: %w", m.group, m.region, id, err)
}

// endGlobal deletes a Global Datastore, retaining the primary's group, and waits.
func (d *Deployer) endGlobal(ctx context.Context, region, id string) (string, error) {
	if !known(id) {
		return "nothing is there", nil
	}
	asked := false
	err := d.until(ctx, "Global Datastore "+id, func() (bool, error) {
		g, err := d.global(ctx, region, id)
		if err != nil || g == nil {
			return true, err
		}
		if len(g.secondaries()) > 0 && g.status != "deleting" {
			return false, fmt.Errorf("%s\n→ it still has secondaries, and can't be deleted", g)
		}
		if g.status == "deleting" || g.status == "modifying" || g.status == "creating" {
			return false, nil
		}
		asked = true
		err = d.cloud.again(ctx, func(ctx context.Context) error {
			_, err := d.cloud.cache(region).DeleteGlobalReplicationGroup(ctx, &elasticache.DeleteGlobalReplicationGroupInput{
				GlobalReplicationGroupId: &id, RetainPrimaryReplicationGroup: aws.Bool(true),
			})
			return err
		})
		if err != nil && !coded(err, "InvalidGlobalReplicationGroupState", "GlobalReplicationGroupNotFoundFault") {
			return false, fmt.Errorf("delete Global Datastore %s: %w", id, err)
		}
		return false, nil
	})
	switch {
	case err != nil:
		return "", err
	case !asked:
		return "nothing to do", nil
	}
	return "deleted; the primary's group stays", nil
}
