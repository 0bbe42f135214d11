package awsdeploy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/roam-sessions/roam/internal/pause"
)

// changePages bounds how many pages of a change set are read.
const changePages = 20

// precious are the types that have data, or what data can't be read without, or what clients know by a name that
// would be another. An update that replaces or removes one is refused.
func precious() []string {
	return []string{
		"AWS::ElastiCache::ReplicationGroup", "AWS::ElastiCache::GlobalReplicationGroup", "AWS::ElastiCache::CacheCluster", "AWS::ElastiCache::ServerlessCache",
		"AWS::DynamoDB::GlobalTable", "AWS::DynamoDB::Table", "AWS::DSQL::Cluster", "AWS::KMS::Key", "AWS::SecretsManager::Secret", "AWS::Route53::HostedZone",
	}
}

// change updates a stack by a change set, which says before what it would do. It reports whether anything was to be
// done.
func (d *Deployer) change(ctx context.Context, w wanted, s *stack) (bool, error) {
	name := setName(w)
	if err := d.propose(ctx, w, s, name); err != nil {
		return false, err
	}
	set, err := d.proposed(ctx, s, name)
	if err != nil {
		return false, err
	}
	if set.Status == types.ChangeSetStatusFailed {
		reason := aws.ToString(set.StatusReason)
		if err := d.withdraw(ctx, s, name); err != nil {
			return false, err
		}
		if empty(reason) {
			return false, nil
		}
		return false, &StackError{Stack: s.name, Region: s.region, Status: "not to be changed so", Reason: reason, Next: `mend the cause, and run "roam aws deploy" again`}
	}
	if err := harmless(set.Changes, s, name); err != nil {
		return false, err
	}
	err = d.cloud.again(ctx, func(ctx context.Context) error {
		_, err := d.cloud.formation(s.region).ExecuteChangeSet(ctx, &cloudformation.ExecuteChangeSetInput{StackName: &s.name, ChangeSetName: &name, RetainExceptOnCreate: aws.Bool(true)})
		if coded(err, "InvalidChangeSetStatus", "ChangeSetNotFound") {
			return nil // it is carried out already: the answer to that was lost
		}
		return err
	})
	if err != nil {
		return false, fmt.Errorf("execute change set %s of stack %s in %s: %w", name, s.name, s.region, err)
	}
	return true, nil
}

// setName names a change set by what it makes, so that one that was left by somebody who was interrupted is found.
func setName(w wanted) string {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%q %q", w.template, w.parameters) // a hash takes all; maps are printed in the order of their keys
	return "roam-" + hex.EncodeToString(h.Sum(nil)[:6])
}

// propose makes a change set. One of that name that is there already is from before, and maybe of another state of the
// stack.
func (d *Deployer) propose(ctx context.Context, w wanted, s *stack, name string) error {
	in := &cloudformation.CreateChangeSetInput{
		StackName: &s.name, ChangeSetName: &name, ChangeSetType: types.ChangeSetTypeUpdate, TemplateBody: &w.template,
		Parameters: w.given(s), Capabilities: capabilities(w.capabilities), Tags: d.tags(), RoleARN: d.role(),
	}
	for anew := true; ; anew = false {
		err := d.cloud.again(ctx, func(ctx context.Context) error {
			_, err := d.cloud.formation(s.region).CreateChangeSet(ctx, in)
			return err
		})
		switch {
		case coded(err, "AlreadyExistsException") && anew:
			if err := d.withdraw(ctx, s, name); err != nil {
				return err
			}
			continue
		case coded(err, "AlreadyExistsException"):
			return nil // by a try of now whose answer was lost
		case err != nil:
			return fmt.Errorf("create change set %s of stack %s in %s: %w", name, s.name, s.region, err)
		}
		return nil
	}
}

// withdraw deletes a change set that is not carried out.
func (d *Deployer) withdraw(ctx context.Context, s *stack, name string) error {
	err := d.cloud.again(ctx, func(ctx context.Context) error {
		_, err := d.cloud.formation(s.region).DeleteChangeSet(ctx, &cloudformation.DeleteChangeSetInput{StackName: &s.name, ChangeSetName: &name})
		if coded(err, "ChangeSetNotFound", "InvalidChangeSetStatus") {
			return nil // there is none, or it is being made this very moment
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("delete change set %s of stack %s in %s: %w", name, s.name, s.region, err)
	}
	return nil
}

// proposed waits until a change set is made or has failed, and returns it with all its changes.
func (d *Deployer) proposed(ctx context.Context, s *stack, name string) (*cloudformation.DescribeChangeSetOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, d.c.Within)
	defer cancel()
	for {
		set, err := d.set(ctx, s, name, nil)
		if err != nil {
			return nil, err
		}
		if set.Status == types.ChangeSetStatusCreatePending || set.Status == types.ChangeSetStatusCreateInProgress {
			if !pause.About(ctx, d.c.Poll) {
				return nil, fmt.Errorf("change set %s of stack %s in %s: %w", name, s.name, s.region, ctx.Err())
			}
			continue
		}
		token := set.NextToken
		for range changePages {
			if token == nil {
				return set, nil
			}
			more, err := d.set(ctx, s, name, token)
			if err != nil {
				return nil, err
			}
			set.Changes, token = append(set.Changes, more.Changes...), more.NextToken
		}
		return nil, fmt.Errorf("change set %s of stack %s in %s has too many changes to be looked at", name, s.name, s.region)
	}
}

func (d *Deployer) set(ctx context.Context, s *stack, name string, token *string) (*cloudformation.DescribeChangeSetOutput, error) {
	var out *cloudformation.DescribeChangeSetOutput
	err := d.cloud.again(ctx, func(ctx context.Context) (err error) {
		out, err = d.cloud.formation(s.region).DescribeChangeSet(ctx, &cloudformation.DescribeChangeSetInput{StackName: &s.name, ChangeSetName: &name, NextToken: token})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("describe change set %s of stack %s in %s: %w", name, s.name, s.region, err)
	}
	return out, nil
}

// empty reports whether a change set failed because there is nothing to change. It has no code of its own for that.
func empty(reason string) bool {
	return strings.Contains(reason, "didn't contain changes") || strings.Contains(reason, "No updates are to be performed")
}

// harmless fails with ErrData if a change would replace or remove what has data. The change set stays, for whoever wants
// to look at it.
func harmless(changes []types.Change, s *stack, name string) error {
	for i := range changes {
		c := changes[i].ResourceChange
		if c == nil || !slices.Contains(precious(), aws.ToString(c.ResourceType)) {
			continue
		}
		var act string
		switch {
		case c.Action == types.ChangeActionRemove:
			act = "remove"
		case c.Action == types.ChangeActionModify && c.Replacement == types.ReplacementTrue:
			act = "replace"
		case c.Action == types.ChangeActionModify && c.Replacement == types.ReplacementConditional:
			act = "maybe replace"
		default:
			continue
		}
		return fmt.Errorf("stack %s in %s: %w: it would %s %s (%s)\n→ change set %s tells all of it; if that is what you want, execute it by hand",
			s.name, s.region, ErrData, act, aws.ToString(c.LogicalResourceId), aws.ToString(c.ResourceType), name)
	}
	return nil
}
