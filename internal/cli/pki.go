package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/roam-sessions/roam/internal/pki"
	"github.com/roam-sessions/roam/internal/topology"
)

// pkiDir is where certificates are made if nothing else is said.
const pkiDir = "pki"

func pkiCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "pki",
		Short: "Make the certificates by which nodes know each other, and people",
		Args:  noArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(pkiInitCommand(), pkiIssueCommand(), pkiShowCommand())
	return c
}

func pkiInitCommand() *cobra.Command {
	var dir, config string
	var regions []string
	var renew, asJSON bool
	c := &cobra.Command{
		Use:   "init",
		Short: "Make an authority, and a certificate for each Region and witness",
		Long: `Make an authority (for ten years) and a certificate for each Region and witness (for
thirteen months): those of a deployment's file, or those named with --region. What is
there is kept, so that others can be added; --renew replaces certificates and keys, as
when hosts have changed, and nodes notice by themselves.

Take ca.key somewhere safe: it is needed only to add Regions and to renew.`,
		Example: `  roam pki init --config roam.yaml
  roam pki init --region us-west-1=node.us-west-1.example --region us-west-2=10.1.0.5
  roam pki init --config roam.yaml --renew`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			members, err := membersOf(config, regions)
			if err != nil {
				return err
			}
			results, err := pki.Init(dir, members, renew, time.Now())
			if printErr := printMade(c, results, asJSON); err == nil {
				err = printErr
			}
			return err
		},
	}
	c.Flags().StringVar(&dir, "dir", pkiDir, "the folder for certificates and keys")
	c.Flags().StringVar(&config, "config", "", "take the Regions, witnesses and their hosts from this file")
	c.Flags().StringArrayVar(&regions, "region", nil, "a Region or witness: NAME=HOST,HOST; without hosts: this machine's loopback")
	c.Flags().BoolVar(&renew, "renew", false, "replace certificates and keys, but for the authority's")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	_ = c.RegisterFlagCompletionFunc("region", completeRegions) // the flag is there
	return c
}

// membersOf returns who is to have a certificate.
func membersOf(config string, regions []string) ([]pki.Member, error) {
	all, err := membersOfFile(config)
	if err != nil {
		return nil, err
	}
	hosts := map[string][]string{}
	var out []pki.Member
	for _, m := range all {
		hosts[m.Region] = m.Hosts
		if len(regions) > 0 {
			continue
		}
		if len(m.Hosts) == 0 {
			return nil, usagef("%s: %s has no node.links: it needs no certificate", config, m.Region)
		}
		out = append(out, m)
	}
	for _, arg := range regions {
		name, list, given := strings.Cut(arg, "=")
		m := pki.Member{Region: name, Hosts: []string{"localhost", "127.0.0.1", "::1"}}
		switch {
		case given && list != "":
			m.Hosts = strings.Split(list, ",")
		case given:
			return nil, usagef("--region %q: want hosts behind the sign, or no sign", arg)
		case len(hosts[name]) > 0:
			m.Hosts = hosts[name]
		case config != "":
			return nil, usagef("--region %q is not in %s, and has no hosts", name, config)
		}
		out = append(out, m)
	}
	if len(out) == 0 {
		return nil, usagef("no Regions: name them with --region, or a file with --config")
	}
	return out, nil
}

// membersOfFile returns the Regions and witnesses of a file, each with the hosts by
// which it is reached, if there are any. Without a file there are none.
func membersOfFile(config string) ([]pki.Member, error) {
	if config == "" {
		return nil, nil
	}
	d, err := readConfig(config)
	if err != nil {
		return nil, err
	}
	member := func(name string, addrs ...string) pki.Member {
		m := pki.Member{Region: name}
		for _, addr := range addrs {
			if host := topology.Host(addr); host != "" && !slices.Contains(m.Hosts, host) {
				m.Hosts = append(m.Hosts, host)
			}
		}
		return m
	}
	var out []pki.Member
	for _, r := range d.Regions {
		out = append(out, member(r.Name, r.Node.Advertise, r.Node.ControlAdvertise, r.Node.APIAdvertise))
	}
	if d.Control != nil {
		for _, w := range d.Control.Witnesses {
			out = append(out, member(w.Name, w.Advertise, w.APIAdvertise))
		}
	}
	return out, nil
}

func pkiIssueCommand() *cobra.Command {
	var o pki.Order
	var asJSON bool
	c := &cobra.Command{
		Use:   "issue NAME",
		Short: "Make a certificate by which a person asks members",
		Long: `Make a certificate and its key by which somebody asks the members of a running
deployment: a viewer may look, an operator may also change. Her name is what events say.
It needs ca.key. What is there is kept; --renew replaces certificate and key, with the
same role if no other is named.

Nothing takes it back before it ends, but a new authority for the whole deployment:
have it be short, or use a token ("roam token"), which leaves with its line in the file.`,
		Example: `  roam pki issue alice --role operator
  roam status --cert pki/people/alice.pem
  roam pki issue alice --renew`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("%d names: want one, of whom the certificate is to be", len(args))
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case o.Person.Role == "" && !o.Renew:
				return usagef("--role is missing: %s or %s", pki.Viewer, pki.Operator)
			case c.Flags().Changed("days") && (o.Days < 1 || o.Days > pki.MostPersonDays):
				return usagef("--days %d: want 1 to %d", o.Days, pki.MostPersonDays)
			}
			o.Person.Name = args[0]
			r, err := pki.Issue(o, time.Now())
			if errors.Is(err, pki.ErrPerson) {
				return usageError{err}
			}
			if err != nil {
				return err
			}
			return printMade(c, []pki.Result{r}, asJSON)
		},
	}
	c.Flags().StringVar(&o.Dir, "dir", pkiDir, "the folder of the authority")
	c.Flags().StringVar(&o.Out, "out", "", "the folder for the certificate and its key (default "+pki.PeopleDir+" in that of the authority)")
	c.Flags().StringVar(&o.Person.Role, "role", "", "what she may do: "+pki.Viewer+" or "+pki.Operator)
	c.Flags().IntVar(&o.Days, "days", pki.PersonDays, "how long it is good, at most a year")
	c.Flags().BoolVar(&o.Renew, "renew", false, "replace certificate and key")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	_ = c.RegisterFlagCompletionFunc("role", cobra.FixedCompletions([]string{pki.Viewer, pki.Operator}, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	return c
}

func printMade(c *cobra.Command, results []pki.Result, asJSON bool) error {
	if asJSON {
		return printJSON(c.OutOrStdout(), append([]pki.Result{}, results...))
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
	for _, r := range results {
		_, _ = fmt.Fprintf(w, "%s\t%s\tuntil %s\t%s\n", r.What, strings.TrimSpace(r.Role+" "+r.Name), r.Expires.UTC().Format(time.DateOnly), r.Cert) // Flush tells
	}
	return w.Flush()
}

func pkiShowCommand() *cobra.Command {
	var dir string
	var asJSON bool
	c := &cobra.Command{
		Use:   "show",
		Short: "Print whose certificates there are and when they end",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			all, err := pki.Show(dir)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), all)
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, s := range all {
				state := fmt.Sprintf("%d days", int(time.Until(s.Expires).Hours()/24))
				if time.Now().After(s.Expires) {
					state = "ENDED"
				}
				_, _ = fmt.Fprintf(w, "%s\tuntil %s\t%s\t%s\n", s.Name, s.Expires.UTC().Format(time.DateOnly), state, strings.TrimSpace(s.Role+" "+strings.Join(s.Hosts, " "))) // Flush tells
			}
			return w.Flush()
		},
	}
	c.Flags().StringVar(&dir, "dir", pkiDir, "the folder of certificates")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
