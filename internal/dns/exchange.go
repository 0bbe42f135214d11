package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	wire "github.com/miekg/dns"
)

var (
	errUnsigned = errors.New("the answer is not signed")
	errNotOurs  = errors.New("the answer is to another request")
)

// An exchange sends a request and returns what was answered.
type exchange func(ctx context.Context, m *wire.Msg) (*wire.Msg, error)

// A caller asks one server of somebody else, on a connection for each request.
type caller struct {
	network string // udp or tcp
	addr    string
	from    netip.Addr // zero: the system chooses
	key     string     // its name in keys; empty: nothing is signed
	keys    keyring
	timeout time.Duration
}

// exchange sends a request, signed if there is a key. It fails if no answer comes in time,
// and if the answer is a success that the key did not sign; that something failed may be said
// by a server that does not have the key.
func (c caller) exchange(ctx context.Context, m *wire.Msg) (*wire.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }() // what was asked for was read
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	co := &wire.Conn{Conn: conn, UDPSize: maxRequest, TsigProvider: c.keys}
	m = m.Copy()
	m.Id = wire.Id()
	if c.key != "" {
		m.SetTsig(c.key, c.keys[c.key].Algorithm, fudge, time.Now().Unix())
	}
	if err := co.WriteMsg(m); err != nil {
		return nil, why(ctx, err)
	}
	for {
		r, err := co.ReadMsg()
		if err == nil && !answers(r, m) {
			err = errNotOurs
		}
		if errors.Is(err, errNotOurs) && c.network == "udp" {
			continue // late, or somebody's guess: the deadline ends it
		}
		if err == nil || answers(r, m) && r.Rcode != wire.RcodeSuccess {
			return r, c.signed(r)
		}
		return nil, why(ctx, err)
	}
}

// answers reports whether r, which may be nil, is the answer to m.
func answers(r, m *wire.Msg) bool {
	return r != nil && r.Response && r.Id == m.Id && r.Opcode == m.Opcode
}

// signed looks whether a success has a signature. If it has, it was found to be right.
func (c caller) signed(r *wire.Msg) error {
	if c.key != "" && r.Rcode == wire.RcodeSuccess && r.IsTsig() == nil {
		return errUnsigned
	}
	return nil
}

func (c caller) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	if c.from.IsValid() {
		at := netip.AddrPortFrom(c.from, 0)
		if d.LocalAddr = net.UDPAddrFromAddrPort(at); c.network == "tcp" {
			d.LocalAddr = net.TCPAddrFromAddrPort(at)
		}
	}
	return d.DialContext(ctx, c.network, c.addr)
}

// why tells of the context's end rather than of the connection that it ended.
func why(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("no answer: %w", context.Cause(ctx))
	}
	return err
}
