package cli

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/roam-sessions/roam/fakeaws"
)

type fakeawsFlags struct {
	regions                       []string
	port, dnsPort                 int
	transition, propagation       time.Duration
	minute, rotate                time.Duration
	deadPrimary                   string
	throttles, addresses, verbose bool
	json                          bool
}

func fakeawsCommand() *cobra.Command {
	var f fakeawsFlags
	c := &cobra.Command{
		Use:   "fakeaws",
		Short: "Run fakes of the AWS services that sessions across Regions need",
		Long: `Run fakes of ElastiCache with its Global Datastore, Route 53, SNS, Lambda, CloudWatch's
alarms and ARC's routing controls, on loopback, until somebody ends it.

Global Datastores are real servers that follow each other, on valkey-server, or
redis-server 7 or later, from the PATH; with cluster mode enabled each has one or more
for every shard, and speaks as a node of a cluster. Records are served by a name server. Functions
are real bootstraps of provided.al2023, each started as this user.

It prints what to set for the AWS CLI and SDKs to talk to it, and then where each service
of each Region is by itself. The secret is drawn at each start. At the admin endpoint
services are taken away, throttled and slowed down, and Regions go dark: see
docs/fakeaws.md. Nothing is kept when it has ended.`,
		Example: `  roam fakeaws
  roam fakeaws --port 4700 --regions us-west-1,us-west-2 --transition 20s
  aws elasticache describe-global-replication-groups --show-member-info`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runFakeaws(c, f) },
	}
	flags := c.Flags()
	flags.StringSliceVar(&f.regions, "regions", []string{"us-west-1", "us-west-2", "us-east-1"}, "which Regions there are")
	flags.IntVar(&f.port, "port", 0, "the admin endpoint's port, with the others' above it; 0: free ones")
	flags.IntVar(&f.dnsPort, "dns-port", 0, "the name server's port; 0: a free one")
	flags.DurationVar(&f.transition, "transition", 500*time.Millisecond, "how long ElastiCache takes for each transition, a failover among them")
	flags.DurationVar(&f.propagation, "propagation", 2*time.Second, "how long changes of Route 53 are PENDING")
	flags.DurationVar(&f.minute, "minute", time.Minute, "how long a minute of CloudWatch is")
	flags.DurationVar(&f.rotate, "rotate", 0, "how long each of ARC's endpoints in turn is down; 0: none is")
	flags.StringVar(&f.deadPrimary, "dead-primary", fakeaws.DeadPrimaryRefuses, "a failover while the primary's Region is dark: refuse, work or stall")
	flags.BoolVar(&f.throttles, "throttle", false, "have Route 53 take as many calls as it does in AWS, and no more")
	flags.BoolVar(&f.addresses, "addresses", false, "tell addresses of ElastiCache's endpoints instead of names")
	flags.BoolVar(&f.json, "json", false, "print JSON")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "log what functions print")
	_ = c.RegisterFlagCompletionFunc("dead-primary", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{fakeaws.DeadPrimaryRefuses, fakeaws.DeadPrimaryWorks, fakeaws.DeadPrimaryStalls}, cobra.ShellCompDirectiveNoFileComp
	}) // the flag is there
	return c
}

func runFakeaws(c *cobra.Command, f fakeawsFlags) (err error) {
	for name, port := range map[string]int{"port": f.port, "dns-port": f.dnsPort} {
		if port < 0 || port > 65000 {
			return usagef("--%s %d: want a port, or 0 for a free one", name, port)
		}
	}
	if f.transition < 0 {
		return usagef("--transition %v: want 0 or more", f.transition)
	}
	level := slog.LevelWarn
	if f.verbose {
		level = slog.LevelInfo
	}
	d := f.transition
	cloud, err := fakeaws.Start(c.Context(), fakeaws.Config{
		Regions: f.regions, Port: f.port, DNSPort: f.dnsPort, Throttles: f.throttles, PlainAddresses: f.addresses, DeadPrimary: f.deadPrimary,
		Propagation: f.propagation, Minute: f.minute, RotateEndpoints: f.rotate,
		Times: &fakeaws.Times{Create: d, Join: d, Failover: d, Disassociate: d, Modify: d, Delete: d},
		Log:   slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: level})),
	})
	if errors.Is(err, fakeaws.ErrConfig) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cloud.Close()) }()
	if err := printFakeaws(c, cloud, f.json); err != nil {
		return err
	}
	_, _ = fmt.Fprintln(c.ErrOrStderr(), "Ctrl-C ends it.")
	<-c.Context().Done()
	return nil
}

// printFakeaws prints what to set, and where everything is.
func printFakeaws(c *cobra.Command, cloud *fakeaws.Cloud, asJSON bool) error {
	key, secret := cloud.Credentials()
	endpoints := cloud.Endpoints()
	if asJSON {
		return printJSON(c.OutOrStdout(), map[string]any{
			"front": cloud.FrontURL(), "admin": cloud.AdminURL(), "dns": cloud.DNSAddr(), "key": key, "secret": secret, "endpoints": endpoints,
		})
	}
	out := c.OutOrStdout()
	if _, err := fmt.Fprintf(out, "export AWS_ENDPOINT_URL=%s\nexport AWS_ACCESS_KEY_ID=%s\nexport AWS_SECRET_ACCESS_KEY=%s\n\n%-24s  %s\n%-24s  %s\n",
		cloud.FrontURL(), key, secret, "admin", cloud.AdminURL(), "dns", cloud.DNSAddr()); err != nil {
		return err
	}
	slices.SortStableFunc(endpoints, func(a, b fakeaws.Endpoint) int { return cmp.Compare(a.Service, b.Service) })
	for _, e := range endpoints {
		if _, err := fmt.Fprintf(out, "%-24s  %s  %s\n", e.Service, e.URL, e.Region); err != nil {
			return err
		}
	}
	return nil
}
