package valkey

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

var (
	// ErrCluster: the server is a cluster's node, and who follows whom is the cluster's.
	ErrCluster = errors.New("server is a cluster's: its replication can't be steered")
	// ErrHalf: the server is being given another one's data, or reads its own from its
	// disk, and would be a primary of a part of it.
	ErrHalf = errors.New("server has a part of its data only")
)

// A Chain steers the native replication of one server that is no cluster's: whom it
// follows, whether it is a primary, and what is told by way of the replication itself.
// The user that it connects as needs what ACLOfNode lists.
//
// It makes sure of nothing beyond that server: who may write is the lease's to say. How
// servers reach and believe each other is theirs (tls-replication, primaryuser and
// primaryauth, replica-announce-ip): a Chain changes no configuration.
//
// It may be used by many goroutines. It does one thing at a time, in the order in which
// it was asked. A call that ends with its context fails with engine.ErrUnreachable if
// nothing was sent, and with engine.ErrUnavailable if it may have been done. All may be
// repeated.
type Chain struct {
	option valkey.ClientOption
	shard  bool          // of Chains: the server is a cluster's
	turn   *turn         // guards client
	client valkey.Client // nil: not connected
}

// NewChain returns what steers the server of c's only address. It connects when it is
// first asked something. It fails with all that is wrong with c. Close it.
func NewChain(c Config) (*Chain, error) {
	c = c.withDefaults()
	if err := c.check(1); err != nil { // whose Region it is does not matter
		return nil, fmt.Errorf("steer a server: %w", err)
	}
	if len(c.Addrs) != 1 {
		return nil, fmt.Errorf("steer a server: %d addresses, want one", len(c.Addrs))
	}
	return newChain(c, c.Addrs[0]), nil
}

// newChain returns what steers the server at an address.
func newChain(c Config, addr string) *Chain {
	c.Addrs, c.alone = []string{addr}, true
	e := &Engine{config: c}
	return &Chain{option: e.option(), turn: newTurn()}
}

// Chain returns what steers the server of e, with connections of its own. It fails if e
// has several addresses, which are a cluster's. Close it.
func (e *Engine) Chain() (*Chain, error) { return NewChain(e.config) }

// Close lets go of the connection, once what is under way has ended, three seconds at
// most. Calls fail with engine.ErrClosed then. It never fails.
func (c *Chain) Close() error {
	c.turn.end(c.drop)
	return nil
}

// Role returns what the server says of itself.
func (c *Chain) Role(ctx context.Context) (Role, error) {
	var out Role
	err := c.do(ctx, func() (err error) {
		out, err = c.role(ctx)
		return err
	})
	if err != nil {
		return Role{}, fmt.Errorf("ask for the role: %w", err)
	}
	return out, nil
}

// Redial lets go of the connection, so that whatever is asked next is asked where the server's
// name leads then.
func (c *Chain) Redial(ctx context.Context) error {
	if err := c.turn.take(ctx); err != nil {
		return fmt.Errorf("dial anew: %w", err)
	}
	defer c.turn.give()
	c.drop()
	return nil
}

// Follow has the server replicate the one at host and port, and does nothing if it does
// that already. Whatever it has that the other one has not is gone once the two have
// met: what must not be is salvaged before. It is no primary any more when Follow returns
// nil; when it has what the other one has, Role tells.
func (c *Chain) Follow(ctx context.Context, host, port string) error {
	err := c.do(ctx, func() error {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" || strings.ContainsAny(host, " \r\n") {
			return fmt.Errorf("%w: address of a server", crdt.ErrMalformed)
		}
		r, err := c.role(ctx)
		if err != nil || r.Follows == net.JoinHostPort(host, port) {
			return err
		}
		_, err = c.ask(ctx, "REPLICAOF", host, port)
		return err
	})
	if err != nil {
		return fmt.Errorf("follow %q: %w", net.JoinHostPort(host, port), err)
	}
	return nil
}

// Promote makes the server a primary, and does nothing if it is one. It fails with
// ErrHalf if the server would be one of half the data. A primary writes nothing under a
// lease before it is granted one.
func (c *Chain) Promote(ctx context.Context) error {
	err := c.do(ctx, func() error {
		r, err := c.role(ctx)
		switch {
		case err != nil:
			return err
		case r.Syncing || r.Loading:
			return ErrHalf
		case r.Primary:
			return nil
		}
		_, err = c.ask(ctx, "REPLICAOF", "NO", "ONE")
		return err
	})
	if err != nil {
		return fmt.Errorf("promote: %w", err)
	}
	return nil
}

// Nudge has a replica connect to its primary anew if it has heard nothing of it for
// silent or longer, and reports whether it did. After a cut the connection that there is
// stays dumb for another 2.5 to 3 s, by TCP's backing off; a new one is there in half a
// second and goes on where the old one was. So it is called when somebody else is heard
// from the primary's Region again: a connection that is begun during the cut is in no
// hurry either. A server tells how long it has heard nothing in whole seconds, and with a
// node that beats it hears ten times a second. Nothing is done while the server is being
// given all data, which would begin anew.
func (c *Chain) Nudge(ctx context.Context, silent time.Duration) (bool, error) {
	var nudged bool
	err := c.do(ctx, func() error {
		r, err := c.role(ctx)
		if err != nil || r.Primary || r.Syncing || !r.LinkUp || r.Silent < silent {
			return err
		}
		reply, err := c.ask(ctx, "CLIENT", "KILL", "TYPE", "master")
		if err == nil {
			n, _ := reply.AsInt64() // 0: it has gone by itself
			nudged = n > 0
		}
		return err
	})
	if err != nil {
		return false, fmt.Errorf("nudge the replication: %w", err)
	}
	return nudged, nil
}

// do does something when nothing else is under way, and waits no longer than ctx. What
// goes on after that ends by the client's own timeouts, within three seconds.
func (c *Chain) do(ctx context.Context, what func() error) error {
	if err := c.turn.take(ctx); err != nil {
		return err
	}
	answer := make(chan error, 1)
	go func() {
		defer c.turn.give()
		err := c.connect(ctx)
		if err == nil {
			err = what()
		}
		answer <- err
	}()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", engine.ErrUnavailable, engine.Ended(ctx))
	}
}

// connect makes a connection if there is none. Whoever calls it has the turn.
func (c *Chain) connect(ctx context.Context) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", engine.ErrUnreachable, engine.Ended(ctx))
	}
	if c.client != nil {
		return nil
	}
	client, err := valkey.NewClient(c.option)
	if err != nil {
		return fmt.Errorf("%w: %w", engine.ErrUnreachable, err)
	}
	c.client = client
	if _, err = c.role(ctx); err != nil {
		c.drop() // who is there is asked again
	}
	return err
}

// drop lets go of the connection. Whoever calls it has the turn.
func (c *Chain) drop() {
	if c.client != nil {
		c.client.Close()
		c.client = nil
	}
}

// ask asks the server once. Whoever calls it has the turn. A server that takes no writes
// is left: its name may lead elsewhere now.
func (c *Chain) ask(ctx context.Context, args ...string) (valkey.ValkeyMessage, error) {
	reply, err := c.client.Do(ctx, c.client.B().Arbitrary(args...).Build()).ToMessage()
	if err != nil && !valkey.IsValkeyNil(err) {
		if err = classify(ctx, err); errors.Is(err, engine.ErrNotPrimary) && !errors.Is(err, errOver) {
			c.drop()
		}
		return reply, err
	}
	return reply, nil
}
