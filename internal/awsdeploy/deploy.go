package awsdeploy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/roam-sessions/roam/internal/awsplan"
)

// maxRounds bounds how often one stack is looked at anew within a step: it is waited for, replaced, made, updated,
// and looked at. More means that somebody else works on it.
const maxRounds = 8

// A Change is what a step would do.
type Change struct {
	Step    awsplan.Step `json:"step"`
	Do      string       `json:"do"`
	Differs []Difference `json:"differs,omitempty"`
	Why     string       `json:"why,omitempty"`
}

// Deploy carries the plan out, step by step, and ends at the first that fails. Whatever was done before stays; called
// again it goes on there. An error of a stack is a StackError, or ErrForeign, ErrData or ErrUnfinished.
//
// Path deploy 1/3: from the command; next Deployer.raise, or an action.
func (d *Deployer) Deploy(ctx context.Context) error {
	if err := d.Check(); err != nil {
		return err
	}
	return d.run(ctx, d.plan.Steps, d.step)
}

// run carries steps out in order.
func (d *Deployer) run(ctx context.Context, steps []awsplan.Step, one func(context.Context, int) (string, error)) error {
	for i, s := range steps {
		d.at = Event{Step: i + 1, Steps: len(steps), Do: s.Do, Stack: s.Stack, Region: s.Region}
		begun := time.Now()
		d.tell(Event{Kind: Begun, Text: s.Why})
		said, err := one(ctx, i)
		took := time.Since(begun).Seconds()
		if err != nil {
			if ctx.Err() != nil {
				err = fmt.Errorf("%w\n→ interrupted: AWS goes on by itself with what it is at, and the same command goes on from here", err)
			}
			d.tell(Event{Kind: Failed, Text: err.Error(), Took: took})
			return fmt.Errorf("step %d of %d: %w", i+1, len(steps), err)
		}
		d.tell(Event{Kind: Done, Text: said, Took: took})
	}
	return nil
}

// step carries out one step of the plan, and says what was done.
func (d *Deployer) step(ctx context.Context, i int) (string, error) {
	s := d.plan.Steps[i]
	given, err := d.parameters(ctx, s)
	if err != nil {
		return "", err
	}
	if s.Do == awsplan.DoStack {
		return d.raise(ctx, d.want(i, given))
	}
	return d.act(ctx, s, given)
}

// parameters returns what a step is given: its own, and what outputs of other stacks bring.
func (d *Deployer) parameters(ctx context.Context, s awsplan.Step) (map[string]string, error) {
	out := map[string]string{}
	maps.Copy(out, s.Parameters)
	fed := map[string][]string{}
	for _, f := range s.Feeds {
		value, err := d.output(ctx, f)
		if err != nil {
			return nil, fmt.Errorf("%s of %s: %w", f.Parameter, s.Stack, err)
		}
		fed[f.Parameter] = append(fed[f.Parameter], value)
	}
	for key, values := range fed {
		out[key] = strings.Join(values, ",")
	}
	return out, nil
}

// errMissing says that an output is not there; errGone, that it is not as its stack is not, never was complete, or
// is on its way out.
var (
	errMissing = errors.New("it is not there")
	errGone    = fmt.Errorf("%w: its stack is not", errMissing)
)

// output returns an output of a stack, or what an action has found out as if it were one. It fails with errMissing
// if there is none.
func (d *Deployer) output(ctx context.Context, f awsplan.Feed) (string, error) {
	if value, ok := d.found[foundKey(f.Region, f.Stack, f.Output)]; ok {
		return value, nil
	}
	s, err := d.look(ctx, f.Region, f.Stack)
	if err != nil {
		return "", err
	}
	missing := errMissing
	if s == nil || stillborn(s.status) || strings.HasPrefix(s.status, "DELETE_") {
		missing = errGone
	} else if value, ok := s.outputs[f.Output]; ok {
		return value, nil
	}
	return "", fmt.Errorf("output %s of stack %s in %s: %w", f.Output, f.Stack, f.Region, missing)
}

func foundKey(region, stack, output string) string { return region + "/" + stack + "/" + output }

// want returns the stack that a step of the plan wants.
func (d *Deployer) want(i int, given map[string]string) wanted {
	s := d.plan.Steps[i]
	w := wanted{
		deployment: d.plan.Name, stack: s.Stack, region: s.Region, parameters: given, capabilities: s.Capabilities, roles: s.Roles,
	}
	w.template, _ = d.templates(s.Template) // Check has read both
	if s.Policy != "" {
		w.policy, _ = d.templates(s.Policy)
	}
	return w
}

// raise makes a stack what it is to be, and says what was done. It looks, does one thing, and looks again.
//
// Path deploy 2/3: from Deployer.step; next Deployer.follow.
func (d *Deployer) raise(ctx context.Context, w wanted) (string, error) {
	for range maxRounds {
		s, err := d.look(ctx, w.region, w.stack)
		if err != nil {
			return "", err
		}
		v, differs, err := d.judge(ctx, w, s)
		if err != nil {
			return "", err
		}
		switch v {
		case toKeep:
			return "nothing to do", nil
		case toSkip:
			d.note("%s", observed(differs))
			return "left alone", nil
		case toRefuse:
			return "", d.refusal(ctx, s)
		case toWait:
			if _, _, err := d.follow(ctx, w.region, s.id, "", false); err != nil {
				return "", err
			}
		case toReplace:
			if err := d.clear(ctx, s); err != nil {
				return "", err
			}
		case toCreate:
			id, err := d.create(ctx, w)
			if err != nil {
				return "", err
			}
			return d.settled(ctx, w.region, id, "", "created")
		case toUpdate:
			if said, err := d.update(ctx, w, s); !errors.Is(err, errBusy) {
				return said, err
			}
		}
	}
	return "", fmt.Errorf("stack %s in %s changes again and again: somebody else works on it", w.stack, w.region)
}

// judge says what is to be done about a stack.
func (d *Deployer) judge(ctx context.Context, w wanted, s *stack) (verdict, []Difference, error) {
	template := ""
	if s != nil && s.deployment == w.deployment && whole(s.status) {
		var err error
		if template, err = d.body(ctx, s.region, s.id); err != nil {
			return "", nil, err
		}
	}
	v, differs := d.c.decide(w, s, template)
	return v, differs, nil
}

// observed says that a stack was not updated, and why.
func observed(differs []Difference) string {
	words := make([]string, 0, len(differs))
	for _, x := range differs {
		words = append(words, x.String())
	}
	return "it differs (" + strings.Join(words, "; ") + "), and is let alone, as a failover may have changed who is the primary: --allow-cache-update has it updated"
}

// errBusy says that somebody else has begun to work on a stack since it was looked at.
var errBusy = errors.New("somebody else works on it")

// busy returns errBusy for an error that says so: CloudFormation has no code of its own for that.
func (d *Deployer) busy(ctx context.Context, s *stack, err error) error {
	if !coded(err, "ValidationError", "OperationInProgressException") {
		return err
	}
	if now, lost := d.look(ctx, s.region, s.id); lost == nil && now != nil && going(now.status) {
		return errors.Join(errBusy, err)
	}
	return err
}

// update carries out what differs, and says what was done. It fails with errBusy if somebody else was faster.
func (d *Deployer) update(ctx context.Context, w wanted, s *stack) (string, error) {
	since, err := d.newest(ctx, s.region, s.id)
	if err != nil {
		return "", err
	}
	changed, err := d.change(ctx, w, s)
	switch {
	case err != nil:
		return "", d.busy(ctx, s, err)
	case !changed:
		return "nothing to do", nil
	}
	return d.settled(ctx, s.region, s.id, since, "updated")
}

// settled waits for a stack, and fails if it does not end well.
//
// Path deploy 3/3: from Deployer.raise.
func (d *Deployer) settled(ctx context.Context, region, name, since, said string) (string, error) {
	s, events, err := d.follow(ctx, region, name, since, true)
	switch {
	case err != nil:
		return "", err
	case s == nil:
		return "", fmt.Errorf("stack %s in %s was deleted by somebody meanwhile", name, region)
	case s.deployment != d.plan.Name:
		return "", d.refusal(ctx, s)
	case !done(s.status):
		return "", explain(s, events)
	}
	return said, nil
}

// clear deletes a stack, and waits until it is gone.
func (d *Deployer) clear(ctx context.Context, s *stack) error {
	since, err := d.newest(ctx, s.region, s.id)
	if err != nil {
		return err
	}
	if err := d.remove(ctx, s); err != nil {
		return err
	}
	after, events, err := d.follow(ctx, s.region, s.id, since, true)
	if err != nil {
		return err
	}
	if after != nil && after.status != string(types.StackStatusDeleteComplete) {
		return explain(after, events)
	}
	return nil
}

// refusal says why a stack is not touched.
func (d *Deployer) refusal(ctx context.Context, s *stack) error {
	if s.deployment != d.plan.Name {
		return fmt.Errorf("stack %s in %s: %w (tag %s is %q)\n→ give the deployment another name, or that stack",
			s.name, s.region, ErrForeign, tagName, s.deployment)
	}
	events, err := d.events(ctx, s, "")
	if err != nil {
		return errors.Join(explain(s, nil), err)
	}
	return explain(s, events)
}

// Preview returns what Deploy would do, and does nothing. Of steps that need what is not there yet it says so.
func (d *Deployer) Preview(ctx context.Context) ([]Change, error) {
	if err := d.Check(); err != nil {
		return nil, err
	}
	var out []Change
	for i, s := range d.plan.Steps {
		d.foresee(ctx, s)
		c := Change{Step: s, Do: "do", Why: "it is done again each time, and changes nothing that is done"}
		given, err := d.parameters(ctx, s)
		switch {
		case errors.Is(err, errMissing):
			c.Do, c.Why = "later", "it needs what an earlier step makes"
		case err != nil:
			return nil, err
		}
		if s.Do == awsplan.DoStack {
			if c, err = d.preview(ctx, d.want(i, given), c); err != nil {
				return nil, err
			}
		}
		out = append(out, c)
	}
	return out, nil
}

func (d *Deployer) preview(ctx context.Context, w wanted, c Change) (Change, error) {
	s, err := d.look(ctx, w.region, w.stack)
	if err != nil {
		return c, err
	}
	if s != nil && c.Do == "later" {
		return c, nil
	}
	v, differs, err := d.judge(ctx, w, s)
	c.Do, c.Differs, c.Why = string(v), differs, ""
	switch {
	case err != nil:
		return c, err
	case v == toRefuse:
		c.Why = d.refusal(ctx, s).Error()
	case v == toSkip:
		c.Why = "its roles are observed: --allow-cache-update has it updated"
	case v == toWait:
		c.Why = "it is " + state(s.status)
	}
	return c, nil
}
