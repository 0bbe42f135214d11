package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/roam-sessions/roam/internal/console"
	"github.com/roam-sessions/roam/internal/lab"
	"github.com/roam-sessions/roam/internal/router"
)

// errDiffers: the tour saw something other than what it expected, and said so.
var errDiffers = errors.New("something differs from what was expected")

type demoFlags struct {
	topology, engine, mode, shop, console string
	seed                                  uint64
	tour, json, verbose                   bool
}

func demoCommand() *cobra.Command {
	var f demoFlags
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run three Regions on this machine, with a shop and a console",
		Long: `Run three Regions (us-west-1, us-west-2, eu-west-1) in one process, with the delays
that links between such Regions have.

Sessions are kept in that process. With --engine valkey each Region keeps them in real
servers of its own, on loopback: valkey-server, or redis-server 7 or later, from the
PATH. What crosses Regions goes through proxies that are as slow and as lossy as the
links. A Region that is killed loses its servers and what is in them. With --engine
postgres it has a PostgreSQL server, version 15 or later, and comes back with what that had.

With --engine valkey --topology active-passive the servers of secondaries are replicas of
the primary's, over these links, and nothing is pushed. A control plane runs as it does in
production: a lease says which Region takes the writes, a primary that dies is replaced in
some 7 seconds, and one that is revived still has what it had: its successor takes in what
is lacking there, and then it follows.

The shop's edge sends each request to the nearest Region, a random one or the one
you choose. The console shows what happens and lets you cut and slow links, lose
packets, and kill Regions. Where a control plane runs, the console shows who holds the lease,
what name servers answer and what a failover cost, and it switches over. Nothing is kept
when the demo has ended, and no port is opened beyond loopback.

With --tour, nobody has to click: users log in, write, are cut off, log out and lose
a Region, and the primary changes; each step says what was expected and what was seen.
The exit code is 1 if any differs.`,
		Example: `  roam demo
  roam demo --topology active-passive
  roam demo --engine valkey
  roam demo --tour --json`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runDemo(c, f) },
	}
	flags := c.Flags()
	flags.StringVar(&f.topology, "topology", console.ActiveActive, "active-active: every Region takes writes; active-passive: us-west-1 does")
	flags.StringVar(&f.engine, "engine", lab.Memory, "where Regions keep sessions: memory, or valkey for real servers, or postgres for real databases")
	flags.StringVar(&f.mode, "read-after-write", "token", "how reads make up for lag: token, primary, retry or accept")
	flags.StringVar(&f.shop, "shop", "127.0.0.1:8080", "where to serve the shop, on loopback")
	flags.StringVar(&f.console, "console", "127.0.0.1:8081", "where to serve the console, on loopback")
	flags.Uint64Var(&f.seed, "seed", 1, "what delays and losses are drawn from")
	flags.BoolVar(&f.tour, "tour", false, "walk through it without a browser and end")
	flags.BoolVar(&f.json, "json", false, "print for machines: one JSON object a line")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "log links that come and go")
	complete := func(words ...string) cobra.CompletionFunc {
		return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return words, cobra.ShellCompDirectiveNoFileComp
		}
	}
	_ = c.RegisterFlagCompletionFunc("topology", complete(console.ActiveActive, console.ActivePassive))
	_ = c.RegisterFlagCompletionFunc("engine", complete(lab.Engines()...))
	_ = c.RegisterFlagCompletionFunc("read-after-write", complete("token", "primary", "retry", "accept"))
	return c
}

func runDemo(c *cobra.Command, f demoFlags) (err error) {
	mode, err := router.ParseMode(f.mode)
	if err != nil {
		return usageError{err}
	}
	if !slices.Contains([]string{console.ActiveActive, console.ActivePassive}, f.topology) {
		return usagef("--topology %q: want %s or %s", f.topology, console.ActiveActive, console.ActivePassive)
	}
	if !slices.Contains(lab.Engines(), f.engine) {
		return usagef("--engine %q: want %s", f.engine, strings.Join(lab.Engines(), " or "))
	}
	if f.engine == lab.Postgres && f.topology == console.ActivePassive {
		return usagef("--engine %s is for --topology %s: one Region alone can't take all writes there", lab.Postgres, console.ActiveActive)
	}
	config := lab.Config{Topology: f.topology, Engine: f.engine, ReadAfterWrite: mode, Seed: f.seed, Cookie: demoCookie}
	if f.verbose {
		config.Log = slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil))
	}
	if f.tour {
		f.shop = "127.0.0.1:0" // it needs nobody to find it
	}
	shop, err := listen(c.Context(), "shop", f.shop)
	if err != nil {
		return err
	}
	config.ShopURL = server{listener: shop}.url()
	l, err := lab.New(c.Context(), config)
	if err != nil {
		_ = shop.Close()
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if program := l.Servers(); program != "" {
		_, _ = fmt.Fprintf(c.ErrOrStderr(), "Each Region has %s. They are temporary and keep nothing.\n", program)
	}
	if f.tour {
		return runTour(c, f, l, server{shop, l.Handler()})
	}
	return showDemo(c, f, l, server{shop, l.Handler()})
}

// showDemo serves the shop and the console until somebody ends it.
func showDemo(c *cobra.Command, f demoFlags, l *lab.Lab, shop server) error {
	at, err := listen(c.Context(), "console", f.console)
	if err != nil {
		_ = shop.listener.Close()
		return err
	}
	log := slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	desk := server{at, console.Handler(l, log)}
	out := c.OutOrStdout()
	if f.json {
		err = json.NewEncoder(out).Encode(map[string]string{"shop": shop.url(), "console": desk.url()})
	} else {
		_, err = fmt.Fprintf(out, "shop     %s\nconsole  %s\n", shop.url(), desk.url())
	}
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintln(c.ErrOrStderr(), "Log in at the shop with any password; cut links and kill Regions in the console. Ctrl-C ends it.")
	return serve(c.Context(), shop, desk)
}

// runTour serves the shop to the tour alone and prints its steps.
func runTour(c *cobra.Command, f demoFlags, l *lab.Lab, shop server) error {
	ctx, cancel := context.WithCancel(c.Context())
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- serve(ctx, shop) }()

	p := printer{out: c.OutOrStdout(), json: f.json}
	differs, err := l.Tour(ctx, shop.url(), p.step)
	cancel()
	if err = errors.Join(err, <-served, p.err); err != nil {
		return fmt.Errorf("tour: %w", err)
	}
	return p.verdict(f, differs)
}

// A printer prints the tour's steps as they end.
type printer struct {
	out     io.Writer
	json    bool
	chapter string
	steps   int
	err     error
}

func (p *printer) step(s lab.Step) {
	if s.Expected != "" {
		p.steps++
	}
	if p.json {
		p.keep(json.NewEncoder(p.out).Encode(s))
		return
	}
	if s.Chapter != p.chapter {
		p.chapter = s.Chapter
		p.printf("\n%s\n", s.Chapter)
	}
	switch {
	case s.Expected == "":
		p.printf("        %s\n", s.Did)
	case s.OK:
		p.printf("  ok    %s\n        %s  (%d ms)\n", s.Did, s.Seen, s.TookMs)
	default:
		p.printf("  DIFF  %s  (%d ms)\n        expected  %s\n        seen      %s\n", s.Did, s.TookMs, s.Expected, s.Seen)
	}
}

func (p *printer) verdict(f demoFlags, differs int) error {
	if p.json {
		p.keep(json.NewEncoder(p.out).Encode(map[string]any{
			"topology": f.topology, "engine": f.engine, "steps": p.steps, "differs": differs,
		}))
	} else {
		p.printf("\n%s on %s: %d steps, %d differ\n", f.topology, f.engine, p.steps, differs)
	}
	if differs > 0 {
		return errDiffers
	}
	return p.err
}

func (p *printer) printf(format string, args ...any) {
	_, err := fmt.Fprintf(p.out, format, args...)
	p.keep(err)
}

func (p *printer) keep(err error) {
	if p.err == nil {
		p.err = err
	}
}
