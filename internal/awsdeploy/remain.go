package awsdeploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/smithy-go"

	"github.com/roam-sessions/roam/internal/awsplan"
)

// listPages bounds how many pages of stacks, resources or snapshots are read.
const listPages = 50

// snapshotType is how plans call a snapshot of ElastiCache. CloudFormation has no type for it.
const snapshotType = "AWS::ElastiCache::Snapshot"

const (
	groupType  = "AWS::ElastiCache::ReplicationGroup"
	globalType = "AWS::ElastiCache::GlobalReplicationGroup"
	zoneType   = "AWS::Route53::HostedZone"
	bucketType = "AWS::S3::Bucket"
)

// A Remainder is something that is there after a deployment was taken away, and may cost something.
type Remainder struct {
	Type   string `json:"type"` // CloudFormation's
	Region string `json:"region"`
	ID     string `json:"id"`
	Why    string `json:"why"`
	// Held is the stack that still has it; empty: none.
	Held string `json:"held,omitempty"`
	// Unsure says that nobody could tell whether it is there.
	Unsure bool `json:"unsure,omitempty"`
	// Keep says that it is the user's, or is kept by a stack: Purge leaves it.
	Keep bool `json:"keep,omitempty"`
}

// Remainders returns what is there though no stack has it any more, and what the plan keeps. While stacks are there
// what they have is theirs, and no remainder.
func (d *Deployer) Remainders(ctx context.Context) ([]Remainder, error) {
	known, err := d.planned(ctx)
	if err != nil {
		return nil, err
	}
	return d.remainders(ctx, known)
}

// planned returns what the plan says remains, with IDs, as far as outputs have them now.
func (d *Deployer) planned(ctx context.Context) ([]Remainder, error) {
	var out []Remainder
	for _, r := range d.remain {
		id := r.ID
		if id == "" && r.Feed != (awsplan.Feed{}) {
			value, err := d.output(ctx, r.Feed)
			if errors.Is(err, errMissing) {
				continue
			}
			if err != nil {
				return nil, err
			}
			id = value
		}
		if id != "" {
			out = append(out, Remainder{Type: r.Type, Region: r.Region, ID: plain(r.Type, id), Why: r.Why, Keep: others(r.Type)})
		}
	}
	return out, nil
}

// plain is an ID as stacks have it: of a key, without what its ARN has in front.
func plain(kind, id string) string {
	if kind == "AWS::KMS::Key" {
		return id[strings.LastIndex(id, "/")+1:]
	}
	return id
}

// others reports whether what a plan, and no stack, tells of a type is not for Purge: buckets and secrets that the user
// made, and what the plan knows by another name than its ID.
func others(kind string) bool {
	return slices.Contains([]string{bucketType, "AWS::SecretsManager::Secret", "AWS::EC2::VPC", "AWS::EC2::Snapshot"}, kind)
}

// remainders returns those of what is known, and of what stacks kept when they were deleted, that are there.
func (d *Deployer) remainders(ctx context.Context, known []Remainder) ([]Remainder, error) {
	all, held := known, map[string]string{}
	for _, at := range d.places() {
		kept, err := d.kept(ctx, at)
		if err != nil {
			return nil, err
		}
		all = append(all, kept...)
		if err := d.living(ctx, at, held); err != nil {
			return nil, err
		}
	}
	seen := map[string]bool{}
	var out []Remainder
	for _, r := range all {
		found, err := d.find(ctx, r)
		if err != nil {
			return nil, err
		}
		for _, r := range found {
			key := keyOf(r.Type, r.Region, r.ID)
			if seen[key] {
				continue
			}
			seen[key] = true
			r.Held = held[key]
			r.Keep = r.Keep || r.Held != "" || r.Type == bucketType
			out = append(out, r)
		}
	}
	slices.SortStableFunc(out, func(a, b Remainder) int { return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.Type, b.Type)) })
	return out, nil
}

// keyOf tells things apart. A Global Table is one in all its Regions.
func keyOf(kind, region, id string) string {
	if kind == "AWS::DynamoDB::GlobalTable" {
		region = "all"
	}
	return kind + " " + region + " " + id
}

// A place is a Region with the names of the stacks that the plan has there.
type place struct {
	region string
	stacks []string
}

func (d *Deployer) places() (out []place) {
	for _, s := range slices.Concat(d.plan.Steps, d.undo) {
		if s.Do != awsplan.DoStack && s.Do != awsplan.DoDelete {
			continue
		}
		i := slices.IndexFunc(out, func(p place) bool { return p.region == s.Region })
		if i < 0 {
			out, i = append(out, place{region: s.Region}), len(out)
		}
		if !slices.Contains(out[i].stacks, s.Stack) {
			out[i].stacks = append(out[i].stacks, s.Stack)
		}
	}
	return out
}

// kept returns what stacks of the deployment kept when they were deleted. CloudFormation knows of them for 90 days.
func (d *Deployer) kept(ctx context.Context, at place) ([]Remainder, error) {
	var out []Remainder
	var token *string
	for range listPages {
		var page *cloudformation.ListStacksOutput
		err := d.cloud.again(ctx, func(ctx context.Context) (err error) {
			page, err = d.cloud.formation(at.region).ListStacks(ctx, &cloudformation.ListStacksInput{
				NextToken: token, StackStatusFilter: []types.StackStatus{types.StackStatusDeleteComplete},
			})
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list the deleted stacks in %s: %w", at.region, err)
		}
		for _, sum := range page.StackSummaries {
			if !slices.Contains(at.stacks, aws.ToString(sum.StackName)) {
				continue
			}
			s, err := d.look(ctx, at.region, aws.ToString(sum.StackId))
			if err != nil {
				return nil, err
			}
			if s == nil || s.deployment != d.plan.Name {
				continue
			}
			err = d.each(ctx, s, func(r types.StackResourceSummary) {
				if r.ResourceStatus == types.ResourceStatusDeleteSkipped && aws.ToString(r.PhysicalResourceId) != "" {
					out = append(out, Remainder{Type: aws.ToString(r.ResourceType), Region: at.region, ID: aws.ToString(r.PhysicalResourceId), Why: "stack " + s.name + " kept it when it was deleted"})
				}
			})
			if err != nil {
				return nil, err
			}
		}
		if token = page.NextToken; token == nil {
			return out, nil
		}
	}
	return nil, fmt.Errorf("%s has too many deleted stacks to be looked at", at.region)
}

// living notes what stacks of the deployment have that are there.
func (d *Deployer) living(ctx context.Context, at place, held map[string]string) error {
	for _, name := range at.stacks {
		s, err := d.look(ctx, at.region, name)
		if err != nil {
			return err
		}
		if s == nil {
			continue
		}
		err = d.each(ctx, s, func(r types.StackResourceSummary) {
			if r.ResourceStatus != types.ResourceStatusDeleteComplete {
				held[keyOf(aws.ToString(r.ResourceType), at.region, aws.ToString(r.PhysicalResourceId))] = s.name
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// each calls f with each resource of a stack.
func (d *Deployer) each(ctx context.Context, s *stack, f func(types.StackResourceSummary)) error {
	var token *string
	for range listPages {
		var page *cloudformation.ListStackResourcesOutput
		err := d.cloud.again(ctx, func(ctx context.Context) (err error) {
			page, err = d.cloud.formation(s.region).ListStackResources(ctx, &cloudformation.ListStackResourcesInput{StackName: &s.id, NextToken: token})
			return err
		})
		if err != nil {
			return fmt.Errorf("list the resources of stack %s in %s: %w", s.name, s.region, err)
		}
		for _, r := range page.StackResourceSummaries {
			f(r)
		}
		if token = page.NextToken; token == nil {
			return nil
		}
	}
	return fmt.Errorf("stack %s in %s has too many resources to be looked at", s.name, s.region)
}

// find returns what is there of something that may be: nothing, it, or several snapshots whose names begin so.
func (d *Deployer) find(ctx context.Context, r Remainder) ([]Remainder, error) {
	var there bool
	switch r.Type {
	case "AWS::EC2::VPC", "AWS::EC2::Snapshot": // the plan does not know their IDs
		r.Unsure = true
		return []Remainder{r}, nil
	case snapshotType:
		return d.snapshots(ctx, r)
	case groupType:
		g, err := d.group(ctx, r.Region, r.ID)
		if err != nil {
			return nil, err
		}
		there = g != nil
	case globalType:
		g, err := d.global(ctx, r.Region, r.ID)
		if err != nil {
			return nil, err
		}
		there = g != nil
	default:
		var is *resource
		err := d.cloud.again(ctx, func(ctx context.Context) (err error) {
			is, err = d.cloud.get(ctx, r.Region, r.Type, r.ID)
			return err
		})
		var refused smithy.APIError
		switch {
		case errors.As(err, &refused) && !passing(err): // a type that it does not know, or no right to look
			there, r.Unsure = true, true
		case err != nil:
			return nil, fmt.Errorf("look at %s %s in %s: %w", r.Type, r.ID, r.Region, err)
		default:
			there = is != nil
		}
	}
	if !there {
		return nil, nil
	}
	return []Remainder{r}, nil
}

// snapshots returns the snapshots of a name, and those whose names have more behind it, with a dash between.
func (d *Deployer) snapshots(ctx context.Context, r Remainder) ([]Remainder, error) {
	var found []Remainder
	var marker *string
	for range listPages {
		var out *elasticache.DescribeSnapshotsOutput
		err := d.cloud.again(ctx, func(ctx context.Context) (err error) {
			out, err = d.cloud.cache(r.Region).DescribeSnapshots(ctx, &elasticache.DescribeSnapshotsInput{Marker: marker})
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("describe the snapshots in %s: %w", r.Region, err)
		}
		for i := range out.Snapshots {
			if name := aws.ToString(out.Snapshots[i].SnapshotName); name == r.ID || strings.HasPrefix(name, r.ID+"-") {
				one := r
				one.ID = name
				found = append(found, one)
			}
		}
		if marker = out.Marker; aws.ToString(marker) == "" {
			return found, nil
		}
	}
	return nil, fmt.Errorf("%s has too many snapshots to be looked at", r.Region)
}

// Purge deletes what remained. What is to be kept is left. It goes on after a failure, and tells all of them; called
// again with what still remains it goes on there.
func (d *Deployer) Purge(ctx context.Context, all []Remainder) error {
	slices.SortStableFunc(all, func(a, b Remainder) int { return cmp.Compare(rank(a.Type), rank(b.Type)) })
	var faults []error
	for i, r := range all {
		if r.Keep {
			continue
		}
		d.at = Event{Step: i + 1, Steps: len(all), Do: "purge", Region: r.Region}
		d.tell(Event{Kind: Begun, Text: r.Type + " " + r.ID})
		said, err := d.purge(ctx, r)
		if err != nil {
			faults = append(faults, err)
			d.tell(Event{Kind: Failed, Text: err.Error()})
			if ctx.Err() != nil {
				break
			}
			continue
		}
		d.tell(Event{Kind: Done, Text: said})
	}
	return errors.Join(faults...)
}

// rank orders types: who needs another goes before it. Keys go last, as others are written with them.
func rank(kind string) int {
	switch kind {
	case globalType:
		return 0
	case groupType:
		return 1
	case "AWS::KMS::Key":
		return 3
	}
	return 2
}

func (d *Deployer) purge(ctx context.Context, r Remainder) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, d.c.Within)
	defer cancel()
	switch r.Type {
	case globalType:
		if _, err := d.part(ctx, r.Region, r.ID); err != nil {
			return "", err
		}
		return d.endGlobal(ctx, r.Region, r.ID)
	case groupType:
		return d.endGroup(ctx, r.Region, r.ID, "")
	case snapshotType:
		err := d.cloud.again(ctx, func(ctx context.Context) error {
			_, err := d.cloud.cache(r.Region).DeleteSnapshot(ctx, &elasticache.DeleteSnapshotInput{SnapshotName: &r.ID})
			return err
		})
		if err != nil && !coded(err, "SnapshotNotFoundFault") {
			return "", fmt.Errorf("delete snapshot %s in %s: %w", r.ID, r.Region, err)
		}
		return "deleted", nil
	case zoneType:
		if _, err := d.emptyZone(ctx, r.ID); err != nil {
			return "", err
		}
	}
	return d.discard(ctx, r.Region, r.Type, r.ID)
}
