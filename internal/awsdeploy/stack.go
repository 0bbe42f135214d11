package awsdeploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/smithy-go"
)

// A stack is what CloudFormation says of one.
type stack struct {
	id, name, region string
	status, reason   string
	deployment       string // by its tag; empty: it has none
	parameters       map[string]string
	outputs          map[string]string
}

// look asks for a stack by its name or ID; nil: there is none. One that was deleted is there by its ID alone.
func (d *Deployer) look(ctx context.Context, region, name string) (*stack, error) {
	if d.silent[region] {
		return nil, errSilent
	}
	var out *cloudformation.DescribeStacksOutput
	err := d.cloud.again(ctx, func(ctx context.Context) (err error) {
		out, err = d.cloud.formation(region).DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &name})
		return err
	})
	if absent(err) || err == nil && len(out.Stacks) == 0 {
		return nil, nil
	}
	if err != nil {
		var said smithy.APIError
		if d.silent != nil && !errors.As(err, &said) {
			d.silent[region] = true
		}
		return nil, fmt.Errorf("describe stack %s in %s: %w", name, region, err)
	}
	return read(region, &out.Stacks[0]), nil
}

// absent reports whether CloudFormation said that there is no such stack. It has no code of its own for that.
func absent(err error) bool {
	return coded(err, "ValidationError") && strings.Contains(err.Error(), "does not exist")
}

func read(region string, s *types.Stack) *stack {
	out := &stack{
		id: aws.ToString(s.StackId), name: aws.ToString(s.StackName), region: region,
		status: string(s.StackStatus), reason: aws.ToString(s.StackStatusReason),
		parameters: map[string]string{}, outputs: map[string]string{},
	}
	for _, p := range s.Parameters {
		out.parameters[aws.ToString(p.ParameterKey)] = aws.ToString(p.ParameterValue)
	}
	for _, o := range s.Outputs {
		out.outputs[aws.ToString(o.OutputKey)] = aws.ToString(o.OutputValue)
	}
	for _, t := range s.Tags {
		if aws.ToString(t.Key) == tagName {
			out.deployment = aws.ToString(t.Value)
		}
	}
	return out
}

// body returns the template that a stack was made from.
func (d *Deployer) body(ctx context.Context, region, name string) (string, error) {
	var out *cloudformation.GetTemplateOutput
	err := d.cloud.again(ctx, func(ctx context.Context) (err error) {
		out, err = d.cloud.formation(region).GetTemplate(ctx, &cloudformation.GetTemplateInput{StackName: &name, TemplateStage: types.TemplateStageOriginal})
		return err
	})
	if err != nil {
		return "", fmt.Errorf("get the template of stack %s in %s: %w", name, region, err)
	}
	return aws.ToString(out.TemplateBody), nil
}

// create asks for a stack, and returns its ID, or its name if it is there already: somebody asked before, and her answer
// was lost. What has data is kept by the template when the stack goes, but not when it never came to be.
func (d *Deployer) create(ctx context.Context, w wanted) (string, error) {
	in := &cloudformation.CreateStackInput{
		StackName: &w.stack, TemplateBody: &w.template, Parameters: w.given(nil), Capabilities: capabilities(w.capabilities),
		Tags: d.tags(), RetainExceptOnCreate: aws.Bool(true), RoleARN: d.role(),
	}
	if w.policy != "" {
		in.StackPolicyBody = &w.policy
	}
	id := w.stack
	err := d.cloud.again(ctx, func(ctx context.Context) error {
		out, err := d.cloud.formation(w.region).CreateStack(ctx, in)
		if coded(err, "AlreadyExistsException") {
			return nil
		}
		if err == nil {
			id = cmp.Or(aws.ToString(out.StackId), id)
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("create stack %s in %s: %w", w.stack, w.region, err)
	}
	return id, nil
}

// remove asks for the end of a stack, by its ID.
func (d *Deployer) remove(ctx context.Context, s *stack) error {
	err := d.cloud.again(ctx, func(ctx context.Context) error {
		_, err := d.cloud.formation(s.region).DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: &s.id, RoleARN: d.role()})
		return err
	})
	if err != nil {
		return fmt.Errorf("delete stack %s in %s: %w", s.name, s.region, err)
	}
	return nil
}

func (d *Deployer) tags() []types.Tag {
	return []types.Tag{{Key: aws.String(tagName), Value: &d.plan.Name}}
}

func (d *Deployer) role() *string {
	if d.c.Role == "" {
		return nil
	}
	return &d.c.Role
}

func capabilities(names []string) (out []types.Capability) {
	for _, n := range names {
		out = append(out, types.Capability(n))
	}
	return out
}
