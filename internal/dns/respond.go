package dns

import (
	wire "github.com/miekg/dns"
)

// payload is the longest answer that goes by UDP: no network breaks it up, by the DNS Flag
// Day of 2020. Longer ones are cut short, and asked for again by TCP.
const payload = 1232

// A transfer is a question for the whole zone. It is for whoever holds the zone to answer.
type transfer struct {
	ixfr  bool
	known uint32 // the serial that the secondary has; of an IXFR
}

// respond answers one request, whose signature is right if there is one. It returns no answer to
// a question for the whole zone, but what was asked. A zone of nil means that nothing is known
// yet of the origin.
func respond(z *Zone, origin string, req *wire.Msg) (*wire.Msg, *transfer) {
	resp := reply(req)
	if rcode := readable(req); rcode != wire.RcodeSuccess {
		return refuse(resp, rcode), nil
	}
	q := req.Question[0]
	name := wire.CanonicalName(q.Name)
	if q.Qclass != wire.ClassINET || !within(name, origin) {
		return refuse(resp, wire.RcodeRefused), nil // neither ours nor to be looked for elsewhere
	}
	switch {
	case q.Qtype == wire.TypeAXFR || q.Qtype == wire.TypeIXFR:
		return wholeZone(resp, req, name == origin)
	case q.Qtype == wire.TypeOPT || q.Qtype == wire.TypeNone:
		return refuse(resp, wire.RcodeFormatError), nil
	case q.Qtype >= metaTypes && q.Qtype < wire.TypeANY:
		return refuse(resp, wire.RcodeNotImplemented), nil
	case z == nil:
		return refuse(resp, wire.RcodeServerFailure), nil // that nothing is there is not known
	}
	f := z.lookup(q.Name, q.Qtype)
	resp.Authoritative, resp.Rcode = true, f.rcode
	resp.Answer, resp.Ns = f.answer, f.authority
	resp.Extra = append(f.additional, resp.Extra...)
	return resp, nil
}

// readable returns why a request is none that can be answered, if so.
func readable(req *wire.Msg) int {
	opts := 0
	for _, rr := range req.Extra {
		if rr.Header().Rrtype == wire.TypeOPT {
			opts++
		}
	}
	opt := req.IsEdns0()
	switch {
	case opts > 1 || opt != nil && opt.Hdr.Name != ".":
		return wire.RcodeFormatError // RFC 6891, 6.1.1
	case opt != nil && opt.Version() != 0:
		return wire.RcodeBadVers
	case req.Opcode != wire.OpcodeQuery:
		return wire.RcodeNotImplemented
	case len(req.Question) != 1:
		return wire.RcodeFormatError
	}
	return wire.RcodeSuccess
}

// metaTypes is where the types begin that are asked for and are no data: RFC 6895, 3.1.
const metaTypes = 128

// wholeZone says what a question for the whole zone is, if it is in order.
func wholeZone(resp, req *wire.Msg, apex bool) (*wire.Msg, *transfer) {
	if !apex {
		return refuse(resp, wire.RcodeNotAuth), nil // RFC 5936, 2.2.1: no zone begins there
	}
	t := &transfer{ixfr: req.Question[0].Qtype == wire.TypeIXFR}
	if !t.ixfr {
		return nil, t
	}
	if len(req.Ns) == 1 {
		if soa, ok := req.Ns[0].(*wire.SOA); ok {
			t.known = soa.Serial
			return nil, t
		}
	}
	return refuse(resp, wire.RcodeFormatError), nil // RFC 1995, 3: the serial is not said
}

// reply begins an answer. It has options if the request has: RFC 6891, 6.1.1.
func reply(req *wire.Msg) *wire.Msg {
	resp := new(wire.Msg)
	resp.SetReply(req)
	if opt := req.IsEdns0(); opt != nil {
		resp.SetEdns0(payload, opt.Do())
	}
	if len(req.Question) != 1 {
		resp.Question = nil
	}
	resp.Compress = true
	return resp
}

func refuse(resp *wire.Msg, rcode int) *wire.Msg {
	resp.Rcode = rcode
	return resp
}

// room returns how long the answer to a request may be that came by UDP.
func room(req *wire.Msg) int {
	opt := req.IsEdns0()
	if opt == nil {
		return wire.MinMsgSize
	}
	return max(wire.MinMsgSize, min(int(opt.UDPSize()), payload))
}

// cut makes an answer fit. Additional records may go without a word: they were not asked for
// (RFC 2181, 9). If that is not enough, all goes, and the answer says to come again by TCP.
func cut(resp *wire.Msg, size int) {
	if resp.Len() <= size {
		return
	}
	opt := resp.IsEdns0()
	resp.Extra = nil
	if opt != nil {
		resp.Extra = []wire.RR{opt}
	}
	if resp.Len() > size {
		resp.Truncated, resp.Answer, resp.Ns = true, nil, nil
	}
}
