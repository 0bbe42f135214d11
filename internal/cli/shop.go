package cli

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/deployment"
	"github.com/roam-sessions/roam/emf"
	"github.com/roam-sessions/roam/engine/memory"
	"github.com/roam-sessions/roam/internal/shop"
)

// demoCookie is the name of the demo's cookies: ports of one host share them, and
// the application next door may use the default. docs/decisions/0010.
const demoCookie = "roam-demo"

// A shopFlags is what a shop is told.
type shopFlags struct {
	addr, config, region, keyFile, journal string
	feed                                   []string
	ca, cert, key                          string
	https                                  bool
	emf                                    string // the Region of metrics; empty: there are none
}

func shopCommand() *cobra.Command {
	var f shopFlags
	c := &cobra.Command{
		Use:   "shop",
		Short: "Serve the demo shop in one Region",
		Long: `Serve the demo shop in one Region, on the memory engine: log in with any
password, fill a cart, log out, log out everywhere. All sessions are gone when
it ends.

With --config it is an application of the deployment that the file describes, in the
Region named: it uses the Region's engine, and goes by what nodes tell at --feed.
All instances in all Regions need the same --key-file. Where something in front of it
speaks HTTPS, say --https, so that cookies go no other way.`,
		Example: `  roam shop
  roam shop --config roam.yaml --region us-west-2 --key-file cookie-key --https \
    --feed https://node.us-west-2.example:7103/v1/feed --ca pki/ca.pem --cert pki/shop.pem --key pki/shop.key`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runShop(c, f) },
	}
	flags := c.Flags()
	flags.StringVar(&f.addr, "addr", "127.0.0.1:8080", "where to serve, on loopback")
	flags.StringVar(&f.config, "config", "", "the deployment's file; empty: a Region by itself, in memory")
	flags.StringVar(&f.region, "region", "", "with --config, the Region that the shop is in")
	flags.StringVar(&f.keyFile, "key-file", "", "with --config, the file of the key that signs cookies: 32 random bytes or more")
	flags.StringVar(&f.journal, "journal", "", "with --config, the file that keeps logouts while no engine takes them")
	flags.StringSliceVar(&f.feed, "feed", nil, "with --config, where nodes tell who takes the writes, the nearest first")
	flags.StringVar(&f.ca, "ca", "", "with --feed, the file of the authority that nodes' certificates are of")
	flags.StringVar(&f.cert, "cert", "", "with --feed, the file of a certificate to show")
	flags.StringVar(&f.key, "key", "", "with --feed, the file of its key")
	flags.StringVar(&f.emf, "emf", "", "print metrics of writes each minute, in CloudWatch's embedded format, for this Region of AWS")
	flags.BoolVar(&f.https, "https", false, "visitors come by HTTPS, which something in front speaks")
	_ = c.RegisterFlagCompletionFunc("region", completeRegions) // the flag is there
	return c
}

// check refuses flags that do not go together.
func (f shopFlags) check() error {
	switch {
	case f.config == "" && (f.region != "" || f.keyFile != "" || f.journal != "" || len(f.feed) > 0):
		return usagef("--config is missing: --region, --key-file, --journal and --feed go with it")
	case f.config != "" && f.region == "":
		return usagef("--region is missing: which Region is the shop in?")
	case f.config != "" && f.keyFile == "":
		return usagef("--key-file is missing: all instances in all Regions need one key. Make it with: head -c 32 /dev/urandom > cookie-key")
	case len(f.feed) == 0 && (f.ca != "" || f.cert != "" || f.key != ""):
		return usagef("--ca, --cert and --key go with --feed")
	case (f.cert == "") != (f.key == ""):
		return usagef("--cert and --key go together")
	}
	return nil
}

func runShop(c *cobra.Command, f shopFlags) (err error) {
	if err := f.check(); err != nil {
		return err
	}
	ctx := c.Context()
	config, key, done, err := f.open(ctx, slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	with := config.Config()
	if f.emf != "" {
		reporter, err := emf.New(c.OutOrStdout(), emf.Config{Region: f.emf})
		if err != nil {
			return usageError{err}
		}
		with.Observe = reporter.Observe
		ended := make(chan error, 1)
		go func() { ended <- reporter.Run(ctx) }()
		defer func() { err = errors.Join(err, <-ended) }()
	}
	store, err := roam.Open(ctx, with)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	config.Attach(store)
	handler, err := shop.New(store, key, shop.Config{
		Region: config.Config().Here.Name, Sessions: roam.Options{Cookie: roam.Cookie{Name: demoCookie, Plain: !f.https}},
	})
	if err != nil {
		return err
	}
	l, err := listen(ctx, "addr", f.addr)
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

// An application is what a shop stands on.
type application interface {
	// Config is what its store is opened with.
	Config() roam.Config
	// Attach has a store go by what nodes tell.
	Attach(store *roam.Store)
}

// A hermit is an application of one Region in memory.
type hermit struct{ config roam.Config }

func (h hermit) Config() roam.Config { return h.config }

func (hermit) Attach(*roam.Store) {}

// open opens what the shop stands on, and returns the key of its cookies and how to close it.
func (f shopFlags) open(ctx context.Context, log *slog.Logger) (application, []byte, func() error, error) {
	if f.config != "" {
		return f.openDeployment(ctx, log)
	}
	const here = crdt.Region(1)
	e, err := memory.New(here, memory.Config{})
	if err != nil {
		return nil, nil, nil, err
	}
	key := make([]byte, leastKey)
	if _, err := io.ReadFull(rand.Reader, key); err != nil {
		return nil, nil, nil, fmt.Errorf("make a cookie key: %w", err)
	}
	// A memory engine forgets, and never fails to.
	return hermit{roam.Config{Here: roam.Region{ID: here, Name: "here", Engine: e}}}, key, e.Close, nil
}

// The bounds of a file with a key.
const leastKey, mostKey = 32, 4 << 10

func (f shopFlags) openDeployment(ctx context.Context, log *slog.Logger) (application, []byte, func() error, error) {
	key, err := os.ReadFile(f.keyFile)
	if err != nil {
		return nil, nil, nil, usagef("read the key: %w", err)
	}
	if len(key) < leastKey || len(key) > mostKey {
		return nil, nil, nil, usagef("--key-file %s has %d bytes: want %d to %d", f.keyFile, len(key), leastKey, mostKey)
	}
	t, err := readConfig(f.config)
	if err != nil {
		return nil, nil, nil, err
	}
	if _, ok := t.Region(f.region); !ok {
		return nil, nil, nil, usagef("--region %q is not in %s: want one of %s", f.region, f.config, strings.Join(t.Names(), ", "))
	}
	client, err := f.feedClient()
	if err != nil {
		return nil, nil, nil, err
	}
	d, err := deployment.Open(ctx, f.config, f.region, deployment.Options{Log: log, Feed: f.feed, FeedClient: client, Journal: f.journal})
	if err != nil {
		return nil, nil, nil, err
	}
	return d, key, d.Close, nil
}

// feedClient asks nodes, as whom the flags say; nil: as nobody.
func (f shopFlags) feedClient() (*http.Client, error) {
	if f.ca == "" && f.cert == "" {
		return nil, nil
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS13}
	if f.ca != "" {
		text, err := os.ReadFile(f.ca)
		if err != nil {
			return nil, usagef("read the authority: %w", err)
		}
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM(text) {
			return nil, usagef("--ca %s has no certificate", f.ca)
		}
	}
	if f.cert != "" {
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return nil, usagef("read the certificate: %w", err)
		}
		secure.Certificates = []tls.Certificate{pair}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: secure}}, nil
}
