package awsdeploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/roam-sessions/roam/internal/awsplan"
)

// A Health is what is to be said of something.
type Health string

// The healths, the worst last.
const (
	Well    Health = "ok"
	Unknown Health = "unknown" // it could not be looked at
	Warning Health = "warn"    // nobody has to do anything now
	Fault   Health = "FAULT"   // somebody has to
)

const (
	// lookTries and lookTimeout are of Status: somebody waits for it, maybe because a Region is away.
	lookTries   = 3
	lookTimeout = 10 * time.Second
)

// errSilent says that a Region was asked before, and did not answer.
var errSilent = errors.New("the Region does not answer")

// A Row is one thing that was looked at.
type Row struct {
	Health Health `json:"state"`
	Region string `json:"region"`
	Part   string `json:"part"` // a stack, global, group or topic
	Seen   string `json:"seen"`
	Mend   string `json:"mend,omitempty"`
}

// Status looks at the stacks of the plan, and at the Global Datastore of those that have one: roles, members, and
// whether its groups can tell of events. What can't be looked at is a row that says so; it fails only if ctx ends.
func (d *Deployer) Status(ctx context.Context) ([]Row, error) {
	if err := d.Check(); err != nil {
		return nil, err
	}
	d.cloud.tries, d.cloud.timeout, d.silent = lookTries, lookTimeout, map[string]bool{}
	defer func() { d.cloud.tries, d.cloud.timeout, d.silent = callTries, callTimeout, nil }()
	var rows []Row
	v := view{groups: map[string][]string{}}
	for i, s := range d.plan.Steps {
		d.foresee(ctx, s)
		if s.Do != awsplan.DoStack || d.repeated(i) {
			continue
		}
		row, is := d.stackRow(ctx, i)
		rows = append(rows, row)
		if is != nil && s.Roles {
			if err := v.add(ctx, d, is); err != nil {
				rows = append(rows, unseen(s.Region, "resources of "+s.Stack, err))
			}
		}
		if err := ctx.Err(); err != nil {
			return rows, err
		}
	}
	rows = append(rows, v.rows(ctx, d)...)
	return rows, ctx.Err()
}

// foresee finds out what later steps are given by one that changes nothing. If it can't, they say so.
func (d *Deployer) foresee(ctx context.Context, s awsplan.Step) {
	if s.Do != awsplan.DoReadEndpoints {
		return
	}
	if given, err := d.parameters(ctx, s); err == nil {
		_, _ = d.readEndpoints(ctx, s, given["Cluster"]) // see above
	}
}

// repeated reports whether a later step is about the same stack.
func (d *Deployer) repeated(i int) bool {
	s := d.plan.Steps[i]
	return slices.ContainsFunc(d.plan.Steps[i+1:], func(l awsplan.Step) bool {
		return l.Do == awsplan.DoStack && l.Stack == s.Stack && l.Region == s.Region
	})
}

func unseen(region, part string, err error) Row {
	return Row{Unknown, region, part, err.Error(), "look at the rights and the network of who asks, and at AWS's own status"}
}

// stackRow looks at one stack.
func (d *Deployer) stackRow(ctx context.Context, i int) (Row, *stack) {
	s := d.plan.Steps[i]
	is, err := d.look(ctx, s.Region, s.Stack)
	if err != nil {
		return unseen(s.Region, s.Stack, err), nil
	}
	if is == nil {
		return Row{Fault, s.Region, s.Stack, "there is no such stack", `run "roam aws deploy"`}, nil
	}
	given, err := d.parameters(ctx, s)
	if err != nil && !errors.Is(err, errMissing) {
		return unseen(s.Region, s.Stack, err), is
	}
	missing := err
	w := d.want(i, given)
	v, differs, err := d.judge(ctx, w, is)
	if err != nil {
		return unseen(s.Region, s.Stack, err), is
	}
	seen := state(is.status)
	switch {
	case v == toRefuse || v == toReplace || whole(is.status) && !done(is.status):
		return d.faultRow(ctx, is), is
	case v == toWait:
		return Row{Warning, s.Region, s.Stack, seen, "wait, or run \"roam aws deploy\" to see how it goes"}, is
	case missing != nil:
		return Row{Unknown, s.Region, s.Stack, seen + "; what it is to be can't be told: " + missing.Error(), `run "roam aws deploy"`}, is
	case v == toSkip:
		return Row{Warning, s.Region, s.Stack, seen + "; differs from the plan: " + list(differs), "its roles are observed; roam aws deploy --allow-cache-update has it updated"}, is
	case v == toUpdate:
		return Row{Fault, s.Region, s.Stack, seen + "; differs from the plan: " + list(differs), `run "roam aws deploy"`}, is
	}
	return Row{Well, s.Region, s.Stack, seen, ""}, is
}

// faultRow says why a stack is not as it is to be.
func (d *Deployer) faultRow(ctx context.Context, s *stack) Row {
	err := d.refusal(ctx, s)
	row := Row{Health: Fault, Region: s.region, Part: s.name, Seen: state(s.status)}
	if e := new(StackError); errors.As(err, &e) {
		if e.Resource != "" {
			row.Seen += "; first failed: " + e.Resource + " (" + e.Type + ")"
		}
		if e.Reason != "" {
			row.Seen += ": " + e.Reason
		}
		row.Mend = e.Next
		return row
	}
	row.Seen, row.Mend, _ = strings.Cut(err.Error(), "\n→ ")
	return row
}

func list(differs []Difference) string {
	words := make([]string, 0, len(differs))
	for _, x := range differs {
		words = append(words, x.String())
	}
	return strings.Join(words, "; ")
}

// A view is what stacks have of which a failover changes the roles.
type view struct {
	globals []string
	from    []string            // Regions that know of them
	groups  map[string][]string // by Region
}

// add notes what a stack has.
func (v *view) add(ctx context.Context, d *Deployer, s *stack) error {
	v.from = append(v.from, s.region)
	return d.each(ctx, s, func(r types.StackResourceSummary) {
		id := aws.ToString(r.PhysicalResourceId)
		switch aws.ToString(r.ResourceType) {
		case globalType:
			if id != "" && !slices.Contains(v.globals, id) {
				v.globals = append(v.globals, id)
			}
		case groupType:
			if id != "" && !slices.Contains(v.groups[s.region], id) {
				v.groups[s.region] = append(v.groups[s.region], id)
			}
		}
	})
}

func (v *view) rows(ctx context.Context, d *Deployer) (rows []Row) {
	for _, id := range v.globals {
		rows = append(rows, v.globalRows(ctx, d, id)...)
	}
	for i, region := range v.from {
		if slices.Contains(v.from[:i], region) {
			continue
		}
		for _, id := range v.groups[region] {
			rows = append(rows, d.groupRow(ctx, region, id))
		}
	}
	return rows
}

// globalRows looks at a Global Datastore from the first Region that answers: one may be away.
func (v *view) globalRows(ctx context.Context, d *Deployer, id string) []Row {
	var err error
	for _, region := range v.from {
		var g *global
		if g, err = d.global(ctx, region, id); err != nil {
			continue
		}
		if g == nil {
			return []Row{{Fault, "", "global", "there is no Global Datastore " + id + ", though a stack has one", "look whether somebody took it apart; roam failover tells who takes the writes"}}
		}
		return []Row{v.globalRow(g)}
	}
	return []Row{unseen("", "global", err)}
}

// globalRow judges a Global Datastore.
func (v *view) globalRow(g *global) Row {
	row := Row{Well, "", "global", g.String(), ""}
	var lacking []string
	for region := range v.groups {
		if !slices.ContainsFunc(g.members, func(m member) bool { return m.region == region }) {
			lacking = append(lacking, region)
		}
	}
	slices.Sort(lacking)
	switch {
	case g.primary() == nil:
		row.Health, row.Mend = Fault, "not just one member is the primary: look at it in ElastiCache's console"
	case len(lacking) > 0:
		row.Health = Fault
		row.Seen += "; not a member: " + strings.Join(lacking, ", ")
		row.Mend = "somebody took it out, and its data have parted from the others': see docs/aws-lambda.md for what to do before it joins again"
	case !g.ready():
		row.Health, row.Mend = Warning, "wait: it takes no changes until it is available"
	}
	return row
}

// groupRow looks at a replication group, and whether it can tell of events.
func (d *Deployer) groupRow(ctx context.Context, region, id string) Row {
	part := "group " + id
	g, err := d.group(ctx, region, id)
	switch {
	case err != nil:
		return unseen(region, part, err)
	case g == nil:
		return Row{Fault, region, part, "there is no such group, though a stack has it", "somebody deleted it: look in CloudTrail who"}
	case g.status != "available":
		return Row{Warning, region, part, "it is " + g.status, "wait until it is available"}
	case len(g.nodes) == 0:
		return Row{Unknown, region, part, "it has no nodes that are told of", "look at it in ElastiCache's console"}
	}
	arn, status, err := d.topic(ctx, region, g.nodes[0])
	switch {
	case err != nil:
		return unseen(region, part, err)
	case arn == "":
		return Row{Warning, region, part, "available; tells nobody of events", "whoever follows the primary learns of a failover by the schedule alone, within a minute"}
	case status != "active":
		return Row{
			Fault, region, part, fmt.Sprintf("available; its topic is %s", status),
			"see that the topic's policy lets ElastiCache publish by aws:SourceOwner, then: aws elasticache modify-replication-group --replication-group-id " + id +
				" --notification-topic-status active --apply-immediately --region " + region,
		}
	}
	return Row{Well, region, part, "available; its topic is active", ""}
}
