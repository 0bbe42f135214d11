package awsdeploy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"

	"github.com/roam-sessions/roam/internal/awsplan"
)

// Destroy takes the deployment away, and returns what stays and costs something. It ends at the first step that fails;
// called again it goes on there. What it was to keep, and what the stacks keep, is left.
//
// Path destroy 1/2: from the command; next Deployer.lower.
func (d *Deployer) Destroy(ctx context.Context) ([]Remainder, error) {
	known, err := d.planned(ctx) // before the stacks are gone that know it
	if err != nil {
		return nil, err
	}
	steps := d.undo
	if err := d.run(ctx, steps, func(ctx context.Context, i int) (string, error) { return d.lower(ctx, steps[i]) }); err != nil {
		return nil, err
	}
	d.at = Event{}
	return d.remainders(ctx, known)
}

// lower carries out one step of the way back, and says what was done. What has no output any more to know it by is gone
// with its stack.
//
// Path destroy 2/2: from Deployer.Destroy.
func (d *Deployer) lower(ctx context.Context, s awsplan.Step) (string, error) {
	const nothing = "nothing is there"
	if s.Do == awsplan.DoDelete {
		return d.fell(ctx, s)
	}
	given, err := d.parameters(ctx, s)
	if errors.Is(err, errGone) {
		return nothing, nil
	}
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, d.c.Within)
	defer cancel()
	switch s.Do {
	case awsplan.DoDisassociate:
		return d.part(ctx, s.Region, given["Global"])
	case awsplan.DoDeleteGlobal:
		return d.endGlobal(ctx, s.Region, given["Global"])
	case awsplan.DoDeleteGroup:
		return d.endGroup(ctx, s.Region, given["Group"], given["Snapshot"])
	case awsplan.DoDeleteTable:
		return d.discard(ctx, s.Region, "AWS::DynamoDB::GlobalTable", given["Table"])
	case awsplan.DoDeleteCluster:
		return d.discard(ctx, s.Region, "AWS::DSQL::Cluster", given["Cluster"])
	case awsplan.DoEmptyZone:
		return d.emptyZone(ctx, given["Zone"])
	}
	return "", fmt.Errorf("this program can't do %q: it is older than the plan", s.Do)
}

// fell deletes a stack of the deployment, and waits until it is gone.
func (d *Deployer) fell(ctx context.Context, s awsplan.Step) (string, error) {
	for range maxRounds {
		is, err := d.look(ctx, s.Region, s.Stack)
		switch {
		case err != nil:
			return "", err
		case is == nil || is.status == string(types.StackStatusDeleteComplete):
			return "nothing is there", nil
		case is.deployment != d.plan.Name:
			return "", d.refusal(ctx, is)
		case going(is.status):
			// CloudFormation takes no deletion while a stack is made or changed, but for one that is being made.
			if _, _, err := d.follow(ctx, s.Region, is.id, "", false); err != nil {
				return "", err
			}
			continue
		}
		if err := d.clear(ctx, is); err != nil {
			return "", err
		}
		return "deleted", nil
	}
	return "", fmt.Errorf("stack %s in %s changes again and again: somebody else works on it", s.Stack, s.Region)
}

// endGroup deletes a replication group, after a last snapshot if that has a name, and waits.
func (d *Deployer) endGroup(ctx context.Context, region, id, snapshot string) (string, error) {
	asked := ""
	err := d.until(ctx, "replication group "+id+" in "+region, func() (bool, error) {
		g, err := d.group(ctx, region, id)
		switch {
		case err != nil || g == nil:
			return true, err
		case g.global != "":
			return false, fmt.Errorf("replication group %s in %s is still in Global Datastore %s, and can't be deleted", id, region, g.global)
		case g.status != "available" && g.status != "create-failed":
			return false, nil
		}
		in := &elasticache.DeleteReplicationGroupInput{ReplicationGroupId: &id}
		if snapshot != "" && g.status == "available" {
			in.FinalSnapshotIdentifier = &snapshot
		}
		asked = aws.ToString(in.FinalSnapshotIdentifier)
		if asked == "" {
			asked = "no snapshot"
		}
		err = d.cloud.again(ctx, func(ctx context.Context) error {
			_, err := d.cloud.cache(region).DeleteReplicationGroup(ctx, in)
			return err
		})
		switch {
		case coded(err, "SnapshotAlreadyExistsFault"): // of a deployment before: it is somebody's data
			snapshot += time.Now().UTC().Format("-20060102-150405")
		case err != nil && !coded(err, "InvalidReplicationGroupState", "ReplicationGroupNotFoundFault"):
			return false, fmt.Errorf("delete replication group %s in %s: %w", id, region, err)
		}
		return false, nil
	})
	switch {
	case err != nil:
		return "", err
	case asked == "":
		return "nothing is there", nil
	}
	return "deleted; snapshot: " + asked, nil
}
