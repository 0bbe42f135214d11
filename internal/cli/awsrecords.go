package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/roam-sessions/roam/internal/dns"
	"github.com/roam-sessions/roam/internal/dns/cloud"
	"github.com/roam-sessions/roam/internal/dns/route53"
	"github.com/roam-sessions/roam/internal/topology"
)

const (
	// migrateTime bounds all of a migration: six tries, and what Route 53 may take until all
	// of its servers know.
	migrateTime = 5 * time.Minute
	// agreedTime bounds how long members are asked which file they go by.
	agreedTime = 5 * time.Second
)

// awsRecordsCommand is what is done to records at Route 53.
func awsRecordsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "records",
		Short: "Change the writer's records at Route 53",
		Args:  noArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(migrateCommand())
	return c
}

// A migrating is how a name is migrated.
type migrating struct {
	asking
	to, name, primary string
	dry               bool
}

func migrateCommand() *cobra.Command {
	var m migrating
	c := &cobra.Command{
		Use:   "migrate",
		Short: "Give a live name another form at Route 53, in one batch",
		Long: `Give the writer's name at Route 53 the form that ` + configName + ` describes: from a simple
record to failover records, or back. It is one batch, which Route 53 takes whole or not
at all, so there is no moment in which the name leads nowhere. It goes on leading to
where it does.

The batch is printed first; with --dry-run that is all. What has changed meanwhile is
not overwritten: look again then. A name that leads to no Region of ` + configName + `, or that
has other records, is somebody else's and left alone. It takes the credentials of AWS
that its SDK finds, and the rights that docs/dns.md lists for a node.

Nodes put their form back within a minute. If they keep the name, have members agree
on the new ` + configName + ` first: nodes that start with it do the same by themselves.`,
		Example: `  roam aws records migrate --to failover --dry-run
  roam aws records migrate --to record --primary us-west-2`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), migrateTime)
			defer cancel()
			return m.run(ctx, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	m.flags(c)
	c.Flags().StringVar(&m.to, "to", "", "the form: failover or record")
	c.Flags().StringVar(&m.name, "name", "", "which name, if the file has several at Route 53")
	c.Flags().StringVar(&m.primary, "primary", "", "the Region that is the primary, where neither the name nor its mark says so")
	c.Flags().BoolVar(&m.dry, "dry-run", false, "print the batch, and change nothing")
	_ = c.RegisterFlagCompletionFunc("to", cobra.FixedCompletions([]string{"failover", "record"}, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	_ = c.RegisterFlagCompletionFunc("primary", completeRegions)
	return c
}

func (m *migrating) run(ctx context.Context, out, talk io.Writer) error {
	d, err := readConfig(m.config)
	if err != nil {
		return err
	}
	p, err := m.pick(d)
	if err != nil {
		return err
	}
	var toward string
	if m.primary != "" {
		if _, ok := d.Region(m.primary); !ok {
			return usagef("--primary %s: there is no such Region; there are %s", m.primary, strings.Join(d.Names(), ", "))
		}
		toward = d.Targets(p)[m.primary]
	}
	var aws cloud.Cloud
	defer aws.Close()
	publisher, err := aws.Record(ctx, p, route53.Config{})
	if err != nil {
		return err
	}
	plan, err := publisher.Migration(ctx, placesOf(d, p), toward)
	if err != nil {
		return told(err)
	}
	if err := m.show(out, p, plan); err != nil || m.dry || len(plan.Changes) == 0 {
		return err
	}
	if plan.Marked {
		if err := m.agreed(ctx, talk, d, p); err != nil {
			return err
		}
	}
	return m.carryOut(ctx, out, publisher, plan)
}

// pick returns the name that is meant.
func (m *migrating) pick(d topology.Deployment) (topology.Publish, error) {
	if m.to != "failover" && m.to != "record" {
		return topology.Publish{}, usagef("--to: want failover or record")
	}
	var all []topology.Publish
	if d.Control != nil && d.Control.DNS != nil {
		for _, p := range d.Control.DNS.Publish {
			if p.Kind == topology.Route53 && (m.name == "" || strings.EqualFold(strings.TrimSuffix(m.name, "."), p.Name)) {
				all = append(all, p)
			}
		}
	}
	switch {
	case len(all) == 0:
		return topology.Publish{}, usagef("%s has no such name of kind route53 under control.dns.publish", m.config)
	case len(all) > 1:
		return topology.Publish{}, usagef("%s has %d names at Route 53: say which with --name", m.config, len(all))
	}
	if is := variantOf(all[0]); is != m.to {
		return topology.Publish{}, usagef("%s says variant: %s for %s, and what goes by it would put that back: write variant: %s first", m.config, is, all[0].Name, m.to)
	}
	return all[0], nil
}

func variantOf(p topology.Publish) string {
	if p.Hosted.Pair != nil {
		return "failover"
	}
	return "record"
}

// placesOf returns all places that a name may lead to and be ours.
func placesOf(d topology.Deployment, p topology.Publish) []string {
	out := slices.Collect(maps.Values(d.Targets(p)))
	for _, r := range d.Regions {
		if target := r.Target(); target != "" {
			out = append(out, target)
		}
	}
	return out
}

// told says what to do about what Route 53 said.
func told(err error) error {
	switch {
	case errors.Is(err, dns.ErrOccupied):
		return fmt.Errorf("%w\n%slook at the zone: take away what is not Roam's, or say which Region is the primary with --primary", err, arrow)
	case errors.Is(err, dns.ErrRefused):
		return fmt.Errorf("%w\n%slook at zone_id and health checks in the file, and at what these credentials may do: docs/dns.md has the policy", err, arrow)
	case errors.Is(err, route53.ErrPending):
		return fmt.Errorf("%w\n%sit was taken: run the same again to see whether it is so everywhere", err, arrow)
	}
	return err
}

// agreed looks whether the nodes that keep the name go by another form: they would put it back.
func (m *migrating) agreed(ctx context.Context, talk io.Writer, d topology.Deployment, p topology.Publish) error {
	ctx, cancel := context.WithTimeout(ctx, agreedTime)
	defer cancel()
	unasked := func(err error) error {
		_, err = fmt.Fprintf(talk, "which file members go by was not asked: %v\n%sif theirs has another form for this name, their nodes put that back within a minute\n", err, arrow)
		return err
	}
	client, _, err := m.open()
	if err != nil {
		return unasked(err)
	}
	defer client.Close()
	file, version, err := client.Topology(ctx)
	if err != nil {
		return unasked(explained(err))
	}
	theirs, err := topology.Parse(file)
	if err != nil || theirs.Control == nil || theirs.Control.DNS == nil {
		return unasked(cmp.Or(err, errors.New("it can't be read here")))
	}
	for _, q := range theirs.Control.DNS.Publish {
		if q.Kind == topology.Route53 && q.Name == p.Name && q.Hosted.ZoneID == p.Hosted.ZoneID && variantOf(q) != variantOf(p) {
			return fmt.Errorf("members of %s go by version %d of the file, which says variant: %s: their nodes would put it back\n%shave them agree on this file (docs/api.md, PUT /v1/topology): nodes then do the same by themselves",
				d.Name, version, variantOf(q), arrow)
		}
	}
	return nil
}

// A migrateLine is what a migration tells in JSON, a line each.
type migrateLine struct {
	Step    string          `json:"step"` // planned, sent, waiting, done
	Name    string          `json:"name,omitempty"`
	To      string          `json:"to,omitempty"`
	Target  string          `json:"target,omitempty"`
	Marked  bool            `json:"marked,omitempty"`
	Epoch   uint64          `json:"epoch,omitempty"`
	Changes []migrateChange `json:"changes,omitempty"`
	Change  string          `json:"change,omitempty"` // Route 53's ID of the batch
	TookMS  int64           `json:"took_ms,omitempty"`
}

type migrateChange struct {
	Action string `json:"action"`
	Set    string `json:"set,omitempty"`
	Role   string `json:"role,omitempty"`
	Target string `json:"target"`
	TTL    int64  `json:"ttl"`
	Health string `json:"health_check,omitempty"`
}

// show prints the batch.
func (m *migrating) show(out io.Writer, p topology.Publish, plan route53.Migration) error {
	line := migrateLine{Step: "planned", Name: p.Name, To: m.to, Target: strings.TrimSuffix(plan.Target, "."), Marked: plan.Marked, Epoch: plan.Epoch}
	rows := [][]string{{"ACTION", "RECORD", "ROLE", "TARGET", "TTL", "HEALTH CHECK"}}
	for _, c := range plan.Changes {
		r := c.Record
		line.Changes = append(line.Changes, migrateChange{string(c.Action), r.Set, string(r.Role), r.Target, r.TTL, r.Health})
		rows = append(rows, []string{string(c.Action), cmp.Or(r.Set, "-"), cmp.Or(string(r.Role), "-"), r.Target, fmt.Sprint(r.TTL), cmp.Or(r.Health, "-")})
	}
	if m.json {
		return json.NewEncoder(out).Encode(line)
	}
	by := "nobody's mark is beside it"
	if plan.Marked {
		by = fmt.Sprintf("a control plane keeps it, in epoch %d", plan.Epoch)
	}
	if len(plan.Changes) == 0 {
		_, err := fmt.Fprintf(out, "%s has that form already, and leads to %s; %s\n", p.Label(), line.Target, by)
		return err
	}
	if _, err := fmt.Fprintf(out, "%s leads to %s; %s. One batch:\n\n", p.Label(), line.Target, by); err != nil {
		return err
	}
	if err := columns(out, rows...); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out)
	return err
}

// carryOut has Route 53 take the batch, and tells how far that is.
func (m *migrating) carryOut(ctx context.Context, out io.Writer, publisher *route53.Publisher, plan route53.Migration) error {
	begun := time.Now()
	sent := ""
	tell := func(step, change string) {
		took := time.Since(begun)
		if m.json {
			_ = json.NewEncoder(out).Encode(migrateLine{Step: step, Change: change, TookMS: took.Milliseconds()}) // what is done is done
			return
		}
		switch step {
		case "sent":
			_, _ = fmt.Fprintf(out, "sent: change %s, which all servers of Route 53 are to know\n", change)
		case "waiting":
			if isTerminal(out) {
				_, _ = fmt.Fprintf(out, clearLine+"pending for %s", brief(took))
			}
		case "done":
			if isTerminal(out) {
				_, _ = io.WriteString(out, clearLine)
			}
			_, _ = fmt.Fprintf(out, "done: in sync, and listed so, after %s\n", brief(took))
		}
	}
	o, err := publisher.Migrate(ctx, plan, func(change string) {
		step := "waiting"
		if change != sent {
			step, sent = "sent", change
		}
		tell(step, change)
	})
	if err != nil {
		return told(err)
	}
	tell("done", o.Change)
	return nil
}
