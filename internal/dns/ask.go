package dns

import (
	"context"
	"errors"
	"fmt"
	"time"

	wire "github.com/miekg/dns"
)

// An Answer is what a server said of a name.
type Answer struct {
	// Target is the name that it leads to, absolute; empty: to none.
	Target string
	// TTL is how long a resolver may keep that.
	TTL time.Duration
}

// ErrNoAnswer says that a server knows a name and says that it leads nowhere, or that it
// can't say.
var ErrNoAnswer = errors.New("the name leads nowhere")

// Ask asks a server, host:port, by UDP where a name leads, as a resolver does, and waits no
// longer than ctx and timeout. It fails with ErrNoAnswer, or because no answer came.
func Ask(ctx context.Context, server, name string, timeout time.Duration) (Answer, error) {
	full, err := parseName(name)
	if err != nil {
		return Answer{}, fmt.Errorf("ask for %q: %w", name, err)
	}
	m := new(wire.Msg)
	m.SetQuestion(full, wire.TypeCNAME)
	r, err := caller{network: "udp", addr: server, timeout: timeout}.exchange(ctx, m)
	if err != nil {
		return Answer{}, fmt.Errorf("ask for %s at %s: %w", full, server, err)
	}
	for _, rr := range r.Answer {
		if to, ok := rr.(*wire.CNAME); ok && wire.CanonicalName(to.Hdr.Name) == full {
			return Answer{Target: wire.CanonicalName(to.Target), TTL: time.Duration(to.Hdr.Ttl) * time.Second}, nil
		}
	}
	return Answer{}, fmt.Errorf("ask for %s at %s: %w: %s", full, server, ErrNoAnswer, wire.RcodeToString[r.Rcode])
}
