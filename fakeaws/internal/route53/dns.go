package route53

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// mostChain bounds a chain of CNAMEs.
	mostChain = 8
	// hostTTL is that of an endpoint's address, in seconds.
	hostTTL = 5
	// answerTimeout bounds a connection that asks by TCP.
	answerTimeout = 5 * time.Second
)

// Answer answers a question as a resolver in one of the zones' networks does.
func (f *Fake) Answer(query []byte) ([]byte, error) {
	var q dns.Msg
	if err := q.Unpack(query); err != nil {
		return nil, err
	}
	m := f.answer(&q)
	m.Truncate(1232)
	return m.Pack()
}

func (f *Fake) answer(q *dns.Msg) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(q)
	m.RecursionAvailable = true
	switch {
	case q.Response || q.Opcode != dns.OpcodeQuery:
		m.Rcode = dns.RcodeNotImplemented
		return m
	case len(q.Question) != 1 || q.Question[0].Qclass != dns.ClassINET:
		m.Rcode = dns.RcodeRefused
		return m
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	name := strings.ToLower(q.Question[0].Name)
	for range mostChain {
		next := f.step(m, name, q.Question[0].Qtype)
		if next == "" {
			return m
		}
		name = next
	}
	m.Rcode = dns.RcodeServerFailure
	return m
}

// step adds what is known of one name and returns the name that it is another one's.
func (f *Fake) step(m *dns.Msg, name string, qtype uint16) (next string) {
	z := f.zoneFor(name)
	if z == nil {
		f.host(m, name, qtype)
		return ""
	}
	m.Authoritative = len(m.Answer) == 0
	there := false
	for _, kind := range []uint16{dns.TypeCNAME, qtype} {
		set, some := f.choose(z.served, name, dns.TypeToString[kind])
		there = there || some
		for _, v := range set.ResourceRecords {
			rr, err := set.wire(v.Value)
			if err != nil {
				continue // it was read when it was put in
			}
			m.Answer = append(m.Answer, rr)
			if c, ok := rr.(*dns.CNAME); ok && qtype != dns.TypeCNAME {
				return strings.ToLower(c.Target)
			}
		}
		if len(set.ResourceRecords) > 0 {
			return ""
		}
	}
	if !there && !z.has(name) {
		m.Rcode = dns.RcodeNameError
	}
	soa := z.served[recordKey{z.name, "SOA", ""}]
	if rr, err := soa.wire(soa.ResourceRecords[0].Value); err == nil {
		m.Ns = append(m.Ns, rr)
	}
	return ""
}

// has reports whether a zone has anything at or below a name.
func (z *zone) has(name string) bool {
	for k := range z.served {
		if dns.IsSubDomain(name, k.name) {
			return true
		}
	}
	return false
}

// zoneFor is the zone with the longest name that a name is in.
func (f *Fake) zoneFor(name string) *zone {
	var best *zone
	for _, z := range f.zones {
		if dns.IsSubDomain(z.name, name) && (best == nil || len(z.name) > len(best.name)) {
			best = z
		}
	}
	return best
}

// choose returns the record set that is served, and whether the name has one of the type.
// The primary is if it is healthy, or if nobody is; else the secondary.
func (f *Fake) choose(rs records, name, kind string) (recordSet, bool) {
	var simple, primary, secondary *recordSet
	for k, r := range rs {
		if k.name != name || k.kind != kind {
			continue
		}
		switch r.Failover {
		case "PRIMARY":
			primary = &r
		case "SECONDARY":
			secondary = &r
		default:
			simple = &r
		}
	}
	well := func(r *recordSet) bool { return r != nil && (r.HealthCheckId == "" || f.healthy(r.HealthCheckId, 0)) }
	switch {
	case simple != nil:
		return *simple, true
	case well(primary) || primary != nil && !well(secondary):
		return *primary, true
	case secondary != nil:
		return *secondary, true
	}
	return recordSet{}, false
}

// host answers for a name outside of all zones: an endpoint's, or nobody's.
func (f *Fake) host(m *dns.Msg, name string, qtype uint16) {
	addr, ok := f.config.Lookup(name)
	if !ok {
		if len(m.Answer) == 0 {
			m.Rcode = dns.RcodeRefused
		} else {
			m.Rcode = dns.RcodeNameError
		}
		return
	}
	if qtype == dns.TypeA {
		m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: hostTTL}, A: addr.AsSlice()})
	}
}

// A Server answers on an address, by UDP and TCP.
type Server struct {
	addr    string
	servers []*dns.Server
	done    sync.WaitGroup
}

// Serve begins to answer on an address, of which the port may be 0. Close ends it.
func (f *Fake) Serve(ctx context.Context, addr string) (*Server, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	p, err := (&net.ListenConfig{}).ListenPacket(ctx, "udp", l.Addr().String())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen for DNS: %w", err), l.Close())
	}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := f.answer(q)
		if _, ok := w.RemoteAddr().(*net.UDPAddr); ok {
			m.Truncate(size(q))
		}
		_ = w.WriteMsg(m) // whoever asked may have gone
	})
	s := &Server{addr: l.Addr().String()}
	for _, d := range []*dns.Server{
		{Listener: l, Handler: handler, ReadTimeout: answerTimeout, WriteTimeout: answerTimeout},
		{PacketConn: p, Handler: handler},
	} {
		up := make(chan struct{})
		d.NotifyStartedFunc = func() { close(up) }
		s.servers = append(s.servers, d)
		s.done.Go(func() { _ = d.ActivateAndServe() }) // it ends with Close
		<-up
	}
	return s, nil
}

// size is how large an answer by UDP may be.
func size(q *dns.Msg) int {
	if o := q.IsEdns0(); o != nil {
		return max(dns.MinMsgSize, min(int(o.UDPSize()), 1232))
	}
	return dns.MinMsgSize
}

// Addr returns host:port of both.
func (s *Server) Addr() string { return s.addr }

// Close ends it and returns when it has ended.
func (s *Server) Close() error {
	var err error
	for _, d := range s.servers {
		err = errors.Join(err, d.Shutdown())
	}
	s.done.Wait()
	return err
}
