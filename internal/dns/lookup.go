package dns

import (
	"slices"

	wire "github.com/miekg/dns"
)

// A found is what a zone has to say to a question.
type found struct {
	rcode      int
	answer     []wire.RR
	authority  []wire.RR
	additional []wire.RR
}

// lookup answers a question for a name of the zone, in whatever case. What it returns is the
// caller's, down to the records.
func (z *Zone) lookup(name string, rrtype uint16) found {
	var f found
	for range maxChain + 1 { // no chain is longer: build looked
		s, ok := z.sets[wire.CanonicalName(name)]
		if !ok {
			f.rcode = wire.RcodeNameError // of the last name, where others led here: RFC 6604
			f.authority = []wire.RR{z.negative()}
			return f
		}
		alias := s[wire.TypeCNAME]
		if len(alias) == 0 || rrtype == wire.TypeCNAME || rrtype == wire.TypeANY {
			z.take(&f, name, s.of(rrtype))
			return f
		}
		z.take(&f, name, alias)
		name = alias[0].(*wire.CNAME).Target
		if !z.holds(name) {
			return f // the resolver goes on from there: we know no other zone
		}
	}
	return f
}

// of returns the records of a type. Who asks for any gets one type alone: it is enough for
// whoever looks, and no use to whoever would have answers sent to a third party (RFC 8482).
func (s sets) of(rrtype uint16) []wire.RR {
	if rrtype != wire.TypeANY {
		return s[rrtype]
	}
	for _, t := range []uint16{wire.TypeCNAME, wire.TypeA, wire.TypeAAAA, wire.TypeSRV, wire.TypeSOA} {
		if len(s[t]) > 0 {
			return s[t]
		}
	}
	return nil
}

// take adds records to an answer, under the name as it was asked for, and what whoever asks
// will ask next. Where there are none it says so.
func (z *Zone) take(f *found, name string, rrs []wire.RR) {
	if len(rrs) == 0 {
		f.authority = []wire.RR{z.negative()} // NODATA: RFC 2308, 2.2
		return
	}
	for _, rr := range rrs {
		rr = wire.Copy(rr)
		rr.Header().Name = name
		f.answer = append(f.answer, rr)
		switch rr := rr.(type) {
		case *wire.NS:
			z.beside(f, rr.Ns)
		case *wire.SRV:
			z.beside(f, rr.Target)
		}
	}
}

// beside adds the addresses of a name, once.
func (z *Zone) beside(f *found, name string) {
	s := z.sets[name]
	for _, rr := range slices.Concat(s[wire.TypeA], s[wire.TypeAAAA]) {
		if !slices.ContainsFunc(f.additional, func(have wire.RR) bool { return wire.IsDuplicate(have, rr) }) {
			f.additional = append(f.additional, wire.Copy(rr))
		}
	}
}

// negative returns the record that says how long nothing may be kept: RFC 2308, 3.
func (z *Zone) negative() wire.RR {
	soa := wire.Copy(z.soa).(*wire.SOA)
	soa.Hdr.Ttl = min(soa.Hdr.Ttl, soa.Minttl)
	return soa
}
