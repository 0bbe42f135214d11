package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/deployment"
	"github.com/roam-sessions/roam/engine/memory"
	"github.com/roam-sessions/roam/internal/shop"
)

// demoCookie is the name of the demo's cookies: ports of one host share them, and
// the application next door may use the default. docs/decisions/0010.
const demoCookie = "roam-demo"

// A shopFlags is what roam shop was told.
type shopFlags struct {
	addr, config, region, keyFile, journal string
	feed                                   []string
	public, plain                          bool
}

func shopCommand() *cobra.Command {
	var f shopFlags
	c := &cobra.Command{
		Use:   "shop",
		Short: "Serve the demo shop in one Region",
		Long: `Serve the demo shop in one Region, on the memory engine: log in with any
password, fill a cart, log out, log out everywhere. All sessions are gone when
it ends.

With --config it serves one Region of a deployment instead, as an application does: on
the engines that the file describes, with the cookies of all that have the same --key-file,
which holds 32 random bytes or more. --feed names nodes that tell which Region takes the
writes. With --public others may reach it, and log in as anybody: behind what speaks TLS to
browsers, unless --plain-cookies lets cookies go over http.`,
		Example: `  roam shop
  roam shop --config roam.yaml --region us-west-1 --key-file cookie.key`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runShop(c, f) },
	}
	flags := c.Flags()
	flags.StringVar(&f.addr, "addr", "127.0.0.1:8080", "where to serve, on loopback; with --public anywhere")
	flags.StringVar(&f.config, "config", "", "the file of a deployment; none: the memory engine")
	flags.StringVar(&f.region, "region", "", "which of its Regions this machine is in")
	flags.StringVar(&f.keyFile, "key-file", "", "what cookies are signed with, the same in all Regions")
	flags.StringVar(&f.journal, "journal", "", "the file that keeps logouts while no engine takes them")
	flags.StringSliceVar(&f.feed, "feed", nil, "nodes that tell who takes the writes, such as https://10.0.0.1:7103/v1/feed")
	flags.BoolVar(&f.public, "public", false, "let others reach it")
	flags.BoolVar(&f.plain, "plain-cookies", false, "let cookies go over http; on loopback they do")
	_ = c.RegisterFlagCompletionFunc("region", completeRegions) // the flag is there
	return c
}

// check refuses flags that don't go together.
func (f shopFlags) check() error {
	switch {
	case f.config == "" && (f.region != "" || f.keyFile != "" || f.journal != "" || len(f.feed) > 0 || f.public):
		return usagef("--config is missing: without it there is one Region, in memory, for this machine")
	case f.config != "" && f.region == "":
		return usagef("--region is missing: say which Region of %s this machine is in", f.config)
	case f.config != "" && f.keyFile == "":
		return usagef("--key-file is missing: all Regions sign cookies with one key, of 32 random bytes or more")
	}
	return nil
}

func runShop(c *cobra.Command, f shopFlags) (err error) {
	if err := f.check(); err != nil {
		return err
	}
	ctx := c.Context()
	config := roam.Config{Here: roam.Region{ID: 1, Name: "here"}}
	key := make([]byte, 32)
	var d *deployment.Deployment
	if f.config == "" {
		e, err := memory.New(config.Here.ID, memory.Config{})
		if err != nil {
			return err
		}
		defer func() { _ = e.Close() }() // a memory engine forgets, and never fails to
		config.Here.Engine = e
		_, err = io.ReadFull(rand.Reader, key)
		if err != nil {
			return fmt.Errorf("make a cookie key: %w", err)
		}
	} else {
		if key, err = os.ReadFile(f.keyFile); err != nil {
			return usagef("--key-file: %w", err)
		}
		if d, err = openDeployment(c, f); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, d.Close()) }()
		config = d.Config()
	}
	store, err := roam.Open(ctx, config)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	if d != nil {
		d.Attach(store)
	}
	handler, err := shop.New(store, key, shop.Config{
		Region: config.Here.Name, Sessions: roam.Options{Cookie: roam.Cookie{Name: demoCookie, Plain: !f.public || f.plain}},
	})
	if err != nil {
		return err
	}
	l, err := listenFor(ctx, f)
	if err != nil {
		return err
	}
	s := server{l, handler}
	if _, err := fmt.Fprintf(c.OutOrStdout(), "shop     %s\n", s.url()); err != nil {
		return err
	}
	_, _ = fmt.Fprintln(c.ErrOrStderr(), "Log in with any password. Ctrl-C ends it.")
	return serve(ctx, s)
}

// openDeployment opens what an application needs of a file.
func openDeployment(c *cobra.Command, f shopFlags) (*deployment.Deployment, error) {
	t, err := readConfig(f.config)
	if err != nil {
		return nil, err
	}
	if _, ok := t.Region(f.region); !ok {
		return nil, usagef("--region %q is not in %s: want one of %s", f.region, f.config, strings.Join(t.Names(), ", "))
	}
	log := slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	return deployment.Open(c.Context(), f.config, f.region, deployment.Options{Log: log, Feed: f.feed, Journal: f.journal})
}

// listenFor listens where the shop is to be reached.
func listenFor(ctx context.Context, f shopFlags) (net.Listener, error) {
	if !f.public {
		return listen(ctx, "addr", f.addr)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", f.addr)
	if err != nil {
		return nil, fmt.Errorf("%w: choose another address with --addr", err)
	}
	return l, nil
}
