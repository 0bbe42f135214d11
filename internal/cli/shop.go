package cli

import (
	"crypto/rand"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine/memory"
	"github.com/roam-sessions/roam/internal/shop"
)

// demoCookie is the name of the demo's cookies: ports of one host share them, and
// the application next door may use the default. docs/decisions/0010.
const demoCookie = "roam-demo"

func shopCommand() *cobra.Command {
	var addr string
	c := &cobra.Command{
		Use:   "shop",
		Short: "Serve the demo shop in one Region",
		Long: `Serve the demo shop in one Region, on the memory engine: log in with any
password, fill a cart, log out, log out everywhere. All sessions are gone when
it ends.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runShop(c, addr) },
	}
	c.Flags().StringVar(&addr, "addr", "127.0.0.1:8080", "where to serve, on loopback")
	return c
}

func runShop(c *cobra.Command, addr string) (err error) {
	ctx := c.Context()
	const here = crdt.Region(1)
	e, err := memory.New(here, memory.Config{})
	if err != nil {
		return err
	}
	defer func() { _ = e.Close() }() // a memory engine forgets, and never fails to
	store, err := roam.Open(ctx, roam.Config{Here: roam.Region{ID: here, Name: "here", Engine: e}})
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	key := make([]byte, 32)
	if _, err := io.ReadFull(rand.Reader, key); err != nil {
		return fmt.Errorf("make a cookie key: %w", err)
	}
	handler, err := shop.New(store, key, shop.Config{
		Region: "here", Sessions: roam.Options{Cookie: roam.Cookie{Name: demoCookie, Plain: true}},
	})
	if err != nil {
		return err
	}
	l, err := listen(ctx, "addr", addr)
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
