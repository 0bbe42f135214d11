package awsdeploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53recoverycluster"

	"github.com/roam-sessions/roam/internal/awsplan"
	"github.com/roam-sessions/roam/internal/dns/arc"
	"github.com/roam-sessions/roam/internal/pause"
)

// actions are what a plan may have done beside stacks.
func actions() []string {
	return []string{awsplan.DoAccept, awsplan.DoWaitGlobal, awsplan.DoReadEndpoints, awsplan.DoTurnOn}
}

// act does what CloudFormation can't, and says what was done. All of it may be done again.
func (d *Deployer) act(ctx context.Context, s awsplan.Step, given map[string]string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, d.c.Within)
	defer cancel()
	switch s.Do {
	case awsplan.DoAccept:
		return d.acceptPeering(ctx, s.Region, given["Attachment"])
	case awsplan.DoWaitGlobal:
		return d.waitGlobal(ctx, s.Region, given["Global"])
	case awsplan.DoReadEndpoints:
		return d.readEndpoints(ctx, s, given["Cluster"])
	case awsplan.DoTurnOn:
		return d.turnOn(ctx, given)
	}
	return "", fmt.Errorf("this program can't do %q: it is older than the plan", s.Do)
}

// until asks, again and again, until what is asked for is so; asking says so, or why it never will be.
func (d *Deployer) until(ctx context.Context, what string, asking func() (bool, error)) error {
	for {
		so, err := asking()
		if err != nil || so {
			return err
		}
		if !pause.About(ctx, d.c.Poll) {
			return fmt.Errorf("%s: %w; ask again to go on: %w", what, ErrUnfinished, ctx.Err())
		}
	}
}

// acceptPeering accepts a peering of Transit Gateways, and waits until it is available. Just after it was asked for in the
// other Region nobody here may know of it.
func (d *Deployer) acceptPeering(ctx context.Context, region, id string) (string, error) {
	said, last := "nothing to do", "?"
	err := d.until(ctx, "peering "+id+" in "+region, func() (bool, error) {
		var is string
		err := d.cloud.again(ctx, func(ctx context.Context) (err error) {
			is, err = d.cloud.attachmentState(ctx, region, id)
			return err
		})
		if err != nil {
			return false, fmt.Errorf("describe peering %s in %s: %w", id, region, err)
		}
		if is != last {
			d.note("peering %s is %s", id, strings.ToLower(strings.TrimSpace(is+" ")))
			last = is
		}
		switch is {
		case "available":
			return true, nil
		case "pendingAcceptance":
			said = "accepted"
			err := d.cloud.again(ctx, func(ctx context.Context) error {
				err := d.cloud.accept(ctx, region, id)
				if coded(err, "IncorrectState") {
					return nil // it is on its way since the answer to the last try was lost
				}
				return err
			})
			if err != nil {
				return false, fmt.Errorf("accept peering %s in %s: %w", id, region, err)
			}
		case "failed", "failing", "rejected", "rejecting", "deleted", "deleting", "rollingBack":
			return false, fmt.Errorf("peering %s in %s is %s\n→ delete its stack, and run \"roam aws deploy\" again", id, region, is)
		}
		return false, nil
	})
	if err != nil {
		return "", err
	}
	return said, nil
}

// waitGlobal waits until a Global Datastore can have another member.
func (d *Deployer) waitGlobal(ctx context.Context, region, id string) (string, error) {
	if !known(id) {
		return "", errors.New("the first Region's stack has no Global Datastore that others could join\n→ it was made alone, and left alone: --allow-cache-update has it updated")
	}
	last := ""
	var g *global
	err := d.until(ctx, "Global Datastore "+id, func() (so bool, err error) {
		if g, err = d.global(ctx, region, id); err != nil {
			return false, err
		}
		if g == nil {
			return false, fmt.Errorf("there is no Global Datastore %s that %s knows of", id, region)
		}
		if says := g.String(); says != last {
			d.note("%s", says)
			last = says
		}
		return g.ready(), nil
	})
	if err != nil {
		return "", err
	}
	return g.status, nil
}

// readEndpoints finds the five endpoints of ARC's cluster, for later steps.
func (d *Deployer) readEndpoints(ctx context.Context, s awsplan.Step, cluster string) (string, error) {
	var found string
	err := d.cloud.again(ctx, func(ctx context.Context) (err error) {
		found, err = d.cloud.endpoints(ctx, cluster)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("ask ARC for the endpoints of %s: %w", cluster, err)
	}
	d.found[foundKey(s.Region, s.Stack, "Endpoints")] = found
	return fmt.Sprintf("%d endpoints", strings.Count(found, "=https://")), nil
}

// endpointsOf reads the endpoints in an answer of ARC.
func endpointsOf(raw []byte) (string, error) {
	var out struct {
		Cluster struct {
			ClusterEndpoints []struct{ Endpoint, Region string }
		}
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		return "", fmt.Errorf("read the answer: %w", err)
	}
	var all []string
	for _, e := range out.Cluster.ClusterEndpoints {
		if e.Region == "" || !strings.HasPrefix(e.Endpoint, "https://") || strings.ContainsAny(e.Region+e.Endpoint, ",= ") {
			return "", fmt.Errorf("%q in %q is no endpoint", e.Endpoint, e.Region)
		}
		all = append(all, e.Region+"="+e.Endpoint)
	}
	if len(all) == 0 {
		return "", errors.New("it has no endpoints yet")
	}
	slices.Sort(all)
	return strings.Join(all, ","), nil
}

// endpointList reads what readEndpoints found.
func endpointList(text string) ([]arc.Endpoint, error) {
	var out []arc.Endpoint
	for part := range strings.SplitSeq(text, ",") {
		region, at, ok := strings.Cut(part, "=")
		if !ok || region == "" || at == "" {
			return nil, fmt.Errorf("%q is no endpoint of ARC's cluster", part)
		}
		out = append(out, arc.Endpoint{URL: at, Region: region})
	}
	return out, nil
}

// turnOn turns a routing control on if all are off, as they are when they are new.
func (d *Deployer) turnOn(ctx context.Context, given map[string]string) (string, error) {
	endpoints, err := endpointList(given["Endpoints"])
	if err != nil {
		return "", err
	}
	client := route53recoverycluster.NewFromConfig(d.cloud.Config, func(o *route53recoverycluster.Options) { o.Retryer = aws.NopRetryer{} })
	cluster, err := arc.New(client, endpoints, arc.Config{})
	if err != nil {
		return "", err
	}
	controls := strings.Split(given["Controls"], ",")
	on := func(ctx context.Context) (string, error) {
		states, err := cluster.States(ctx, controls)
		for _, c := range controls {
			if states[c] {
				return c, err
			}
		}
		return "", err
	}
	is, err := on(ctx)
	if err != nil {
		return "", fmt.Errorf("ask which routing control is on: %w", err)
	}
	if is != "" {
		return "nothing to do: " + is + " is on", nil
	}
	off := slices.DeleteFunc(slices.Clone(controls), func(c string) bool { return c == given["Control"] })
	_, err = cluster.Turn(ctx, given["Control"], off, func(ctx context.Context) error {
		is, err := on(ctx)
		if err == nil && is != "" && is != given["Control"] {
			err = fmt.Errorf("%s was turned on by somebody meanwhile", is)
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("turn %s on: %w", given["Control"], err)
	}
	return "turned on", nil
}
