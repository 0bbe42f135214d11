package dns

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	wire "github.com/miekg/dns"
)

var errLost = errors.New("no answer")

// A foreign is a server of somebody else, in memory: it takes updates as RFC 2136 says, and
// answers. It is for one goroutine.
type foreign struct {
	zone string
	rrs  []wire.RR
	// fate says what becomes of a request before it is taken; nil: it is taken.
	fate func(m *wire.Msg) fate
	// late are updates that are still on their way.
	late    []*wire.Msg
	updates int // taken, whatever became of them
	seen    []string
}

// A fate is what becomes of a request and of its answer.
type fate struct {
	lost, late, unheard bool // the request is, it comes later; it is taken, and the answer lost
	rcode               int  // answered instead of being taken
}

func (f *foreign) ask(ctx context.Context, m *wire.Msg) (*wire.Msg, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var b fate
	if f.fate != nil {
		b = f.fate(m)
	}
	switch {
	case b.lost:
		return nil, errLost
	case b.late:
		if m.Opcode == wire.OpcodeUpdate {
			f.late = append(f.late, m.Copy())
		}
		return nil, errLost
	case b.rcode != 0:
		return new(wire.Msg).SetRcode(m, b.rcode), nil
	}
	r := f.take(m)
	if b.unheard {
		return nil, errLost
	}
	return r, nil
}

func (f *foreign) take(m *wire.Msg) *wire.Msg {
	r := new(wire.Msg).SetReply(m)
	r.Authoritative = true
	if m.Opcode == wire.OpcodeUpdate {
		f.updates++
		r.Rcode = f.update(m)
		f.seen = append(f.seen, f.alias())
		return r
	}
	q := m.Question[0]
	r.Rcode = wire.RcodeNameError
	for _, rr := range f.rrs {
		if strings.EqualFold(rr.Header().Name, q.Name) {
			r.Rcode = wire.RcodeSuccess
			if t := rr.Header().Rrtype; t == q.Qtype || t == wire.TypeCNAME {
				r.Answer = append(r.Answer, wire.Copy(rr))
			}
		}
	}
	return r
}

// at returns the records of a name and type; of a name, for any.
func (f *foreign) at(name string, rrtype uint16) []wire.RR {
	return slices.Collect(func(yield func(wire.RR) bool) {
		for _, rr := range f.rrs {
			if h := rr.Header(); h.Name == name && (h.Rrtype == rrtype || rrtype == wire.TypeANY) && !yield(rr) {
				return
			}
		}
	})
}

// data is a record without its TTL.
func data(rr wire.RR) string {
	rr = wire.Copy(rr)
	rr.Header().Ttl, rr.Header().Class = 0, wire.ClassINET
	return rr.String()
}

// holds judges one prerequisite, by RFC 2136, 3.2.
func (f *foreign) holds(rr wire.RR) int {
	h := rr.Header()
	there := f.at(h.Name, h.Rrtype)
	switch {
	case h.Class == wire.ClassNONE && h.Rrtype == wire.TypeANY && len(there) > 0:
		return wire.RcodeYXDomain
	case h.Class == wire.ClassNONE && len(there) > 0:
		return wire.RcodeYXRrset
	case h.Class == wire.ClassANY && h.Rrtype == wire.TypeANY && len(there) == 0:
		return wire.RcodeNameError
	case h.Class == wire.ClassANY && len(there) == 0, h.Class == wire.ClassINET && (len(there) != 1 || data(there[0]) != data(rr)):
		return wire.RcodeNXRrset
	}
	return wire.RcodeSuccess
}

func (f *foreign) update(m *wire.Msg) int {
	if m.Question[0].Name != f.zone || m.Question[0].Qtype != wire.TypeSOA {
		return wire.RcodeNotAuth
	}
	for _, rr := range m.Answer {
		if rcode := f.holds(rr); rcode != 0 {
			return rcode
		}
	}
	for _, rr := range m.Ns {
		h := rr.Header()
		if h.Class == wire.ClassANY {
			f.rrs = slices.DeleteFunc(f.rrs, func(rr wire.RR) bool { return rr.Header().Name == h.Name && rr.Header().Rrtype == h.Rrtype })
			continue
		}
		f.rrs = append(f.rrs, wire.Copy(rr))
	}
	return wire.RcodeSuccess
}

// put has the server know a record, as whoever looks after it would.
func (f *foreign) put(t *testing.T, text ...string) {
	t.Helper()
	for _, line := range text {
		rr, err := wire.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		f.rrs = append(f.rrs, rr)
	}
}

// alias is where our name leads to; empty: nowhere.
func (f *foreign) alias() string {
	if there := f.at(published, wire.TypeCNAME); len(there) == 1 {
		return there[0].(*wire.CNAME).Target
	}
	return ""
}

// text is all there is of our name and its mark.
func (f *foreign) text() string {
	var out []string
	for _, rr := range slices.Concat(f.at(published, wire.TypeANY), f.at(markOf+published, wire.TypeANY)) {
		out = append(out, strings.Join(strings.Fields(rr.String()), " "))
	}
	return strings.Join(out, "\n")
}
