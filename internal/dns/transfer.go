package dns

import (
	"net/netip"
	"time"

	wire "github.com/miekg/dns"
)

const (
	// maxTransfers is how many run at a time; more are refused, and secondaries come
	// again by themselves.
	maxTransfers = 4
	// transferBytes is about how long each message of one is.
	transferBytes = 16 << 10
)

// transfer answers a question for the whole zone, by RFC 5936. An IXFR is answered with the
// whole zone too, as RFC 1995 allows: no zone of ours is long.
func (s *Server) transfer(z *Zone, req *wire.Msg, t *transfer, sig *signature, from netip.Addr, tcp bool) ([][]byte, func()) {
	nothing := func() {}
	resp := reply(req)
	switch {
	case !s.mayTransfer(from, sig):
		s.stats.transfersRefused.Add(1)
		s.config.Log.Warn("a transfer was refused", "from", from, "key", sig.signer())
		return s.say(refuse(resp, wire.RcodeRefused), sig), nothing
	case z == nil:
		return s.say(refuse(resp, wire.RcodeServerFailure), sig), nothing
	case t.ixfr && (!tcp || t.known == z.Serial || newer(t.known, z.Serial)):
		// There is nothing new; or there is, and it is to be had by TCP.
		resp.Authoritative = true
		resp.Answer = []wire.RR{wire.Copy(z.soa)}
		return s.say(resp, sig), nothing
	case !tcp:
		return s.say(refuse(resp, wire.RcodeFormatError), sig), nothing
	}
	select {
	case s.transfers <- struct{}{}:
	default:
		s.stats.transfersRefused.Add(1)
		return s.say(refuse(resp, wire.RcodeRefused), sig), nothing
	}
	release := func() { <-s.transfers }
	answers := s.sayAll(z, resp, sig)
	if answers != nil {
		s.stats.transfers.Add(1)
	}
	return answers, release
}

// mayTransfer reports whether a source is a secondary, and proved it as far as it has to.
func (s *Server) mayTransfer(from netip.Addr, sig *signature) bool {
	for _, to := range s.config.Secondaries {
		if to.Addr.Addr().Unmap() != from {
			continue
		}
		if to.Key == nil || sig.signer() == wire.CanonicalName(to.Key.Name) {
			return true
		}
	}
	return false
}

// sayAll packs the whole zone, between its SOA and the same again. The first message has the
// EDNS option that first has.
func (s *Server) sayAll(z *Zone, first *wire.Msg, sig *signature) [][]byte {
	var out [][]byte
	rrs := make([]wire.RR, 0, len(z.records)+2)
	rrs = append(rrs, z.soa)
	rrs = append(rrs, z.records...)
	rrs = append(rrs, z.soa)
	m := first
	for i := 0; i < len(rrs); {
		m.Authoritative = true
		for size := 0; i < len(rrs) && size < transferBytes; i++ {
			m.Answer = append(m.Answer, wire.Copy(rrs[i]))
			size += wire.Len(rrs[i])
		}
		b, err := s.keys.pack(m, sig, time.Now())
		if err != nil {
			s.config.Log.Error("a transfer can't be packed", "err", err)
			return nil
		}
		s.stats.answered(wire.RcodeSuccess)
		out = append(out, b)
		next := new(wire.Msg)
		next.MsgHdr, next.Question, next.Compress = first.MsgHdr, first.Question, true
		m = next
	}
	return out
}
