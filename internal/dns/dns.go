package dns

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	wire "github.com/miekg/dns"
)

// Config is what is optional about a Server. Its zero value is good for a machine's own use:
// loopback, no secondaries.
type Config struct {
	// Log is told what nobody asked for. Default: discarded.
	Log *slog.Logger
	// Listen has the addresses to be reached at, by UDP and by TCP; at most 16. On a
	// machine that has several, each is named: what comes in at 0.0.0.0 may be answered
	// from another address, and resolvers drop that. Default 127.0.0.1:5300.
	Listen []string
	// Zone is about the zone.
	Zone ZoneConfig
	// Secondaries may transfer the zone, and are told when it changes; at most 16.
	Secondaries []Secondary
	// Rate is how many requests a second are answered by UDP to one network (/24, or /56
	// of IPv6), and how many at once. From 1 to 1,000,000. Default 1,000.
	Rate int
	// Slips says that each so-many-th request beyond the rate is told to come by TCP; the
	// others are dropped. From 1 to 100. Default 2.
	Slips int
	// Workers read from each address by UDP, and so bound what is answered at a time. From
	// 1 to 256. Default 8.
	Workers int
	// Conns bounds connections by TCP; more are closed at once. One source has a quarter
	// of them at most. From 4 to 65,536. Default 256.
	Conns int
	// Idle is how long a connection may be silent, or take an answer. Default 8 s.
	Idle time.Duration
}

// Most of what a Config may have.
const (
	maxListen      = 16
	maxSecondaries = 16
)

// A Secondary is a server that keeps a copy of the zone.
type Secondary struct {
	// Addr is where it is told of changes, and from whose IP it transfers.
	Addr netip.AddrPort
	// Key signs both. Nil: nothing does, and its address is all that it proves.
	Key *Key
}

func (c Config) withDefaults() (Config, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if len(c.Listen) == 0 {
		c.Listen = []string{"127.0.0.1:5300"}
	}
	if c.Idle == 0 {
		c.Idle = 8 * time.Second
	}
	var faults []error
	within := func(name string, v *int, def, least, most int) {
		if *v == 0 {
			*v = def
		}
		if *v < least || *v > most {
			faults = append(faults, fmt.Errorf("%s is %d, from %d to %d", name, *v, least, most))
		}
	}
	within("Rate", &c.Rate, 1000, 1, 1_000_000)
	within("Slips", &c.Slips, 2, 1, 100)
	within("Workers", &c.Workers, 8, 1, 256)
	within("Conns", &c.Conns, 256, 4, 1<<16)
	if len(c.Listen) > maxListen || len(c.Secondaries) > maxSecondaries || c.Idle < 0 {
		faults = append(faults, fmt.Errorf("at most %d addresses and %d secondaries, and no time below zero", maxListen, maxSecondaries))
	}
	for _, s := range c.Secondaries {
		if !s.Addr.IsValid() || s.Addr.Port() == 0 {
			faults = append(faults, fmt.Errorf("secondary %v: it has no address and port", s.Addr))
		}
	}
	return c, errors.Join(faults...)
}

// A Server answers for one zone, and for no other. It may be used by many goroutines.
type Server struct {
	origin    string
	config    Config
	keys      keyring
	listeners []net.Listener
	packets   []*net.UDPConn
	tellers   []*teller
	transfers chan struct{} // has a token for each transfer under way

	zone  atomic.Pointer[Zone] // nil: nothing is known yet
	stats stats

	stop  context.CancelFunc // of all that runs
	wg    sync.WaitGroup
	ended chan struct{} // closed by end

	updating sync.Mutex // held by Update; before mu

	limitMu sync.Mutex // guards limit
	limit   *limiter

	mu    sync.Mutex // guards what follows
	over  bool
	conns map[net.Conn]netip.Addr
	from  map[netip.Addr]int // how many conns each source has
}

// Start begins to answer for an origin. Until the first Update it says that it can't: what a
// server knows nothing of may exist. It ends with ctx or by Shutdown; call Shutdown in either
// case. It fails if the Config is wrong or an address can't be listened at.
func Start(ctx context.Context, origin string, c Config) (*Server, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("dns server: %w", err)
	}
	name, err := parseName(origin)
	if err != nil {
		return nil, fmt.Errorf("dns server: origin %q: %w", origin, err)
	}
	// A zone of nothing but an origin tells what is wrong with its configuration now.
	if _, err := build(name, View{Nameservers: []Nameserver{{Name: "ns.invalid"}}}, c.Zone); err != nil {
		return nil, fmt.Errorf("dns server: %w", err)
	}
	s := &Server{
		origin: name, config: c, transfers: make(chan struct{}, maxTransfers), ended: make(chan struct{}),
		limit: newLimiter(c.Rate, c.Slips, maphash.MakeSeed()),
		conns: map[net.Conn]netip.Addr{}, from: map[netip.Addr]int{},
	}
	keys := make([]*Key, len(c.Secondaries))
	for i := range c.Secondaries {
		keys[i] = c.Secondaries[i].Key
	}
	if s.keys, err = newKeyring(keys...); err != nil {
		return nil, fmt.Errorf("dns server: %w", err)
	}
	ctx, s.stop = context.WithCancel(ctx)
	for _, at := range c.Listen {
		if err := s.listen(ctx, at); err != nil {
			s.stop()
			s.closeSockets()
			return nil, fmt.Errorf("dns server: %w", err)
		}
	}
	for _, p := range s.packets {
		var workers sync.WaitGroup
		for range c.Workers {
			workers.Go(func() { s.serveUDP(p) })
		}
		s.wg.Go(func() {
			workers.Wait()
			_ = p.Close() // all that was to be written was
		})
	}
	for _, l := range s.listeners {
		s.wg.Go(func() { s.serveTCP(l) })
	}
	for _, to := range c.Secondaries {
		t := newTeller(to, s.keys, s.source(to.Addr.Addr()))
		s.tellers = append(s.tellers, t)
		s.wg.Go(func() { t.run(ctx, s) })
	}
	s.wg.Go(func() {
		<-ctx.Done()
		s.end()
	})
	return s, nil
}

// Update makes the zone anew from a View, at once for whoever asks from now on, and has the
// secondaries told if it changed. After an error the zone is as it was: ErrStale if the View
// is older than what is answered, else all faults of the View.
func (s *Server) Update(v View) error {
	s.updating.Lock()
	defer s.updating.Unlock()
	before := s.zone.Load()
	var next *Zone
	var err error
	if before == nil {
		next, err = NewZone(s.origin, v, time.Now(), s.config.Zone)
	} else {
		next, err = before.Next(v, time.Now())
	}
	if err != nil {
		s.stats.updatesRefused.Add(1)
		return err
	}
	// Where the writer is changes here, at once for whoever asks from now on.
	s.zone.Store(next)
	if before != nil && before.Serial == next.Serial {
		s.stats.updatesSame.Add(1)
		return nil
	}
	s.stats.updates.Add(1)
	for _, t := range s.tellers {
		t.changed()
	}
	return nil
}

// Zone returns what is answered now; nil before the first Update.
func (s *Server) Zone() *Zone { return s.zone.Load() }

// Addrs returns where the server is reached, by UDP and by TCP.
func (s *Server) Addrs() []netip.AddrPort {
	out := make([]netip.AddrPort, len(s.packets))
	for i, p := range s.packets {
		out[i] = p.LocalAddr().(*net.UDPAddr).AddrPort()
	}
	return out
}

// Shutdown ends the server: nothing new is taken in, and what is being answered is, unless ctx
// ends before. Then connections are closed and it fails with the cause. It returns when all
// is over, and may be called again.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop()
	over := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(over)
	}()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	for c := range s.conns {
		_ = c.Close() // whoever waits for the rest has had the time
	}
	s.mu.Unlock()
	<-over
	return fmt.Errorf("dns server: end connections: %w", context.Cause(ctx))
}

// end has all that waits for somebody else stop waiting.
func (s *Server) end() {
	close(s.ended)
	past := time.Unix(1, 0)
	s.mu.Lock()
	s.over = true
	for c := range s.conns {
		_ = c.SetReadDeadline(past) // one that is gone needs none
	}
	s.mu.Unlock()
	for _, l := range s.listeners {
		_ = l.Close() // nothing was written to it
	}
	for _, p := range s.packets {
		_ = p.SetReadDeadline(past) // it is closed when they have gone
	}
}

// handle answers one message, or none: nil means that there is nothing to say. Release is
// called when the answers have been written.
func (s *Server) handle(packet []byte, from netip.Addr, tcp bool) (answers [][]byte, release func()) {
	release = func() {}
	if len(packet) < headerBytes || packet[2]&responseBit != 0 {
		s.stats.ignored.Add(1) // an answer to an answer would never end
		return nil, release
	}
	fate := admit
	if !tcp {
		s.limitMu.Lock()
		fate = s.limit.take(time.Now(), from)
		s.limitMu.Unlock()
	}
	if fate == drop {
		s.stats.dropped.Add(1)
		return nil, release
	}
	req := new(wire.Msg)
	if err := req.Unpack(packet); err != nil {
		return s.say(refuse(headerOnly(packet), wire.RcodeFormatError), nil), release
	}
	if fate == slip {
		s.stats.slipped.Add(1)
		resp := reply(req)
		resp.Truncated = true
		return s.say(resp, nil), release
	}
	sig, err := s.keys.authenticate(packet, req)
	switch {
	case err != nil:
		return s.say(refuse(reply(req), wire.RcodeFormatError), nil), release
	case sig != nil && sig.fault != 0:
		s.stats.badSignatures.Add(1)
		return s.say(refuse(reply(req), wire.RcodeNotAuth), sig), release
	}
	z := s.zone.Load()
	resp, whole := respond(z, s.origin, req)
	if whole != nil {
		return s.transfer(z, req, whole, sig, from, tcp)
	}
	if !tcp {
		if cut(resp, room(req)-sig.size()); resp.Truncated {
			s.stats.truncated.Add(1)
		}
	}
	return s.say(resp, sig), release
}

// say packs one answer, and counts it.
func (s *Server) say(resp *wire.Msg, sig *signature) [][]byte {
	b, err := s.keys.pack(resp, sig, time.Now())
	if err != nil {
		s.config.Log.Error("an answer can't be packed", "err", err)
		return nil
	}
	s.stats.answered(resp.Rcode)
	return [][]byte{b}
}

const (
	headerBytes = 12
	responseBit = 1 << 7 // of the third byte
)

// headerOnly begins the answer to what can't be read but for its header.
func headerOnly(packet []byte) *wire.Msg {
	resp := new(wire.Msg)
	resp.Id = uint16(packet[0])<<8 | uint16(packet[1])
	resp.Response = true
	resp.Opcode = int(packet[2]>>3) & 0xf
	resp.RecursionDesired = packet[2]&1 != 0
	return resp
}
