package awsdeploy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/roam-sessions/roam/internal/pause"
)

// eventPages bounds how many pages of a stack's events are read at once, of a hundred each. An operation of ours
// has some hundreds; beyond the bound its beginning is not told.
const eventPages = 30

// soonPolls is how many polls CloudFormation has for beginning with what it was asked for.
const soonPolls = 6

// newest returns the ID of a stack's last event; empty: there is none, or no stack.
func (d *Deployer) newest(ctx context.Context, region, id string) (string, error) {
	page, _, err := d.page(ctx, region, id, nil)
	if err != nil || len(page) == 0 {
		return "", err
	}
	return page[0].id, nil
}

// events returns what happened to a stack since an event, or since its last operation began, in order.
func (d *Deployer) events(ctx context.Context, s *stack, since string) ([]happening, error) {
	var out []happening
	var token *string
	for range eventPages {
		page, next, err := d.page(ctx, s.region, s.id, token)
		if err != nil {
			return nil, err
		}
		for _, h := range page {
			if h.id == since {
				next = nil
				break
			}
			out = append(out, h)
			if since == "" && h.starts(s.id) {
				next = nil
				break
			}
		}
		if token = next; token == nil {
			break
		}
	}
	slices.Reverse(out)
	return out, nil
}

// page returns a page of events, the newest first, and where the next begins.
func (d *Deployer) page(ctx context.Context, region, id string, token *string) ([]happening, *string, error) {
	var out *cloudformation.DescribeStackEventsOutput
	err := d.cloud.again(ctx, func(ctx context.Context) (err error) {
		out, err = d.cloud.formation(region).DescribeStackEvents(ctx, &cloudformation.DescribeStackEventsInput{StackName: &id, NextToken: token})
		return err
	})
	if absent(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("describe the events of stack %s in %s: %w", id, region, err)
	}
	var page []happening
	for i := range out.StackEvents {
		page = append(page, happened(&out.StackEvents[i]))
	}
	return page, out.NextToken, nil
}

func happened(e *types.StackEvent) happening {
	return happening{
		id: aws.ToString(e.EventId), resource: aws.ToString(e.LogicalResourceId), kind: aws.ToString(e.ResourceType), status: string(e.ResourceStatus),
		reason: aws.ToString(e.ResourceStatusReason), physical: aws.ToString(e.PhysicalResourceId), at: aws.ToTime(e.Timestamp),
	}
}

// follow waits until nothing goes on with a stack any more, tells what happens to it since an event (empty: since
// its last operation began), and returns it as it is then, with these events. Soon says that something was asked for
// just now: for some polls it is not believed that nothing goes on before anything has happened. It fails with
// ErrUnfinished when its time is up.
func (d *Deployer) follow(ctx context.Context, region, name, since string, soon bool) (*stack, []happening, error) {
	ctx, cancel := context.WithTimeout(ctx, d.c.Within)
	defer cancel()
	var all []happening
	var s *stack
	for poll := 1; ; poll++ {
		is, err := d.look(ctx, region, name)
		if err != nil {
			return s, all, d.unfinished(ctx, s, err)
		}
		if is == nil {
			return nil, all, nil
		}
		s, name = is, is.id // by its ID it is found when it has been deleted, too
		news, err := d.events(ctx, s, since)
		if err != nil {
			return s, all, d.unfinished(ctx, s, err)
		}
		for _, h := range news {
			since = h.id
			d.tell(Event{Kind: Resource, Resource: h.resource, Type: h.kind, Status: h.status, Text: h.reason})
		}
		if all = append(all, news...); !going(s.status) && (!soon || len(all) > 0 || poll > soonPolls) {
			return s, all, nil
		}
		if !pause.About(ctx, d.c.Poll) {
			return s, all, d.unfinished(ctx, s, ctx.Err())
		}
	}
}

// unfinished returns an error, with what to know if it is that somebody's time is up.
func (d *Deployer) unfinished(ctx context.Context, s *stack, err error) error {
	if ctx.Err() == nil || s == nil {
		return err
	}
	return fmt.Errorf("stack %s in %s is %s: %w; ask again to go on: %w", s.name, s.region, state(s.status), ErrUnfinished, ctx.Err())
}

// state is a status for people: in small letters.
func state(status string) string { return strings.ToLower(strings.ReplaceAll(status, "_", " ")) }
