package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/roam-sessions/roam/internal/admin"
	"github.com/roam-sessions/roam/internal/topology"
)

// tokenVariable holds the token that is shown to the admin API.
const tokenVariable = "ROAM_TOKEN"

// An asking is how members of a deployment are asked.
type asking struct {
	config string
	token  string // path of a file
	as     string // whose certificate to show
	cert   string // path of a certificate to show
	key    string // path of its key
	ca     string // path of the authority to believe
	json   bool
}

func (a *asking) flags(c *cobra.Command) {
	c.Flags().StringVar(&a.config, "config", configName, "the file that describes the deployment")
	c.Flags().StringVar(&a.token, "token-file", "", "a file with the token to show; else it is in $"+tokenVariable)
	c.Flags().StringVar(&a.as, "as", "", "show the certificate of this member: it may look and not act")
	c.Flags().StringVar(&a.cert, "cert", "", "a file with the certificate to show (\"roam pki issue\"); else it is in $"+certVariable)
	c.Flags().StringVar(&a.key, "key", "", "a file with its key; else in $"+keyVariable+", or beside it, as .key for .pem")
	c.Flags().StringVar(&a.ca, "ca", "", "a file with the deployment's authority; else in $"+caVariable+", or links.tls.ca of the file")
	c.Flags().BoolVar(&a.json, "json", false, "print JSON")
	_ = c.RegisterFlagCompletionFunc("as", completeMembers) // the flag is there
}

// open returns what asks, and the deployment. Close the client.
func (a *asking) open() (*admin.Client, topology.Deployment, error) {
	d, err := readConfig(a.config)
	if err != nil {
		return nil, d, err
	}
	if d.Control == nil {
		return nil, d, usagef("%s has no control section: there is no control plane to be asked\nSee \"roam config example --control\"", a.config)
	}
	show, err := a.showing(d)
	if err != nil {
		return nil, d, err
	}
	c := admin.ClientConfig{Token: show.token}
	scheme := "http://"
	if d.Links.TLS != nil {
		scheme = "https://"
		if c.TLS, err = show.tls(time.Now()); err != nil {
			return nil, d, usagef("%w", err)
		}
	}
	for _, m := range d.Voters() {
		c.URLs = append(c.URLs, scheme+m.API)
	}
	client, err := admin.NewClient(c)
	return client, d, err
}

// asks is what a command does that asks members.
func (a *asking) asks(do func(ctx context.Context, out io.Writer, c *admin.Client, d topology.Deployment) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, _ []string) error {
		client, d, err := a.open()
		if err != nil {
			return err
		}
		defer client.Close()
		return explained(do(c.Context(), c.OutOrStdout(), client, d))
	}
}

// explained says what to do about a problem that the API told.
func explained(err error) error {
	p, ok := errors.AsType[*admin.Problem](err)
	if !ok {
		return unproven(err)
	}
	lines := append([]string{p.Detail}, p.Faults...)
	lines = append(lines, p.Rules...)
	for _, c := range p.Checks {
		if !c.OK {
			lines = append(lines, c.Name+": "+c.Detail)
			if c.Next != "" {
				lines = append(lines, arrow+c.Next)
			}
		}
	}
	text := strings.Join(lines, "\n  ")
	if p.Next != "" {
		text += "\n" + arrow + p.Next
	}
	switch p.Kind { //nolint:exhaustive // the others say all there is to say
	case admin.KindUnauthorized:
		text += "\n" + arrow + "put a token in $" + tokenVariable + " or --token-file (\"roam token\" makes one), or a certificate in $" +
			certVariable + " or --cert (\"roam pki issue\")"
	case admin.KindForbidden:
		text += "\n" + arrow + "show it with --token-file or --cert; \"roam pki issue NAME --role operator\" makes a certificate"
	}
	return errors.New(text)
}

func completeMembers(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return completed(c, func(d topology.Deployment) (names []string) {
		for _, m := range d.Voters() {
			names = append(names, m.Name)
		}
		return names
	})
}

// completed completes names of a deployment.
func completed(c *cobra.Command, names func(topology.Deployment) []string) ([]string, cobra.ShellCompDirective) {
	config, err := c.Flags().GetString("config")
	if err != nil || config == "" {
		config = configName
	}
	d, err := readConfig(config)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return names(d), cobra.ShellCompDirectiveNoFileComp
}

// interrupted returns nil for what ended because somebody interrupted it.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return nil
}

// completeRegionArg completes the name of a Region as a word.
func completeRegionArg(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return completed(c, topology.Deployment.Names)
}

// printJSON prints a value as people and programs read it.
func printJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// columns prints rows of cells below each other.
func columns(out io.Writer, rows ...[]string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		if _, err := fmt.Fprintln(w, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	return w.Flush()
}

// ago says how long something is ago.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return brief(now.Sub(t)) + " ago"
}

// brief says a time as people do.
func brief(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
	return d.Round(time.Minute).String()
}

// whoAsks is what events say of who asked, beside the name of the token.
func whoAsks() string {
	host, err := os.Hostname()
	user := os.Getenv("USER")
	if err != nil || user == "" {
		return filepath.Base(os.Args[0])
	}
	return user + "@" + host
}
