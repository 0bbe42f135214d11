package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	wire "github.com/miekg/dns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is for what takes microseconds.
const patience = 20 * time.Second

// start runs a server at a free port of loopback, with a zone.
func start(t testing.TB, c Config) *Server {
	t.Helper()
	if len(c.Listen) == 0 {
		c.Listen = []string{"127.0.0.1:0"}
	}
	s, err := Start(t.Context(), origin, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	v := view()
	crowd(&v)
	if err := s.Update(v); err != nil {
		t.Fatal(err)
	}
	return s
}

// ask asks a server and returns what it answers.
func ask(t *testing.T, s *Server, network string, m *wire.Msg) *wire.Msg {
	t.Helper()
	c := wire.Client{Net: network, Timeout: patience}
	r, _, err := c.Exchange(m, s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestServer(t *testing.T) {
	s := start(t, Config{})
	for _, network := range []string{"udp", "tcp"} {
		const want = "NOERROR aa\napp.session.internal. 5 IN A 10.1.0.9"
		if r := ask(t, s, network, question("app.session.internal.", wire.TypeA)); say(r) != want {
			t.Errorf("by %s: %s, want %s", network, say(r), want)
		}
	}
	long := question("many.session.internal.", wire.TypeA)
	if r := ask(t, s, "udp", long); !r.Truncated || len(r.Answer) > 0 {
		t.Errorf("60 addresses by UDP: %s", say(r))
	}
	if r := ask(t, s, "tcp", long); r.Truncated || len(r.Answer) != 60 {
		t.Errorf("60 addresses by TCP: %s", say(r))
	}
	if st := s.Stats(); st.UDP != 2 || st.TCP != 2 || st.Success != 4 || st.Truncated != 1 || st.Updates != 1 || st.Epoch != 7 || st.Serial != s.Zone().Serial {
		t.Errorf("Stats = %+v", st)
	}
}

func TestResolver(t *testing.T) {
	s := start(t, Config{})
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, s.Addrs()[0].String())
	}}
	v := view()
	v.Epoch, v.Writer = 8, "us-west-2"
	if err := s.Update(v); err != nil {
		t.Fatal(err)
	}
	got, err := r.LookupHost(t.Context(), "write.session.internal.")
	if err != nil || len(got) != 3 {
		t.Errorf("LookupHost = %v, %v, want the three addresses of us-west-2", got, err)
	}
	_, list, err := r.LookupSRV(t.Context(), "web", "tcp", "session.internal.")
	if err != nil || len(list) != 2 || list[0].Port != 443 {
		t.Errorf("LookupSRV = %v, %v", list, err)
	}
	var none *net.DNSError
	if _, err := r.LookupHost(t.Context(), "mars.session.internal."); !errors.As(err, &none) || !none.IsNotFound {
		t.Errorf("LookupHost of nothing: %v", err)
	}
}

func TestUpdate(t *testing.T) {
	s := start(t, Config{})
	v := view()
	crowd(&v)
	if err := s.Update(v); err != nil || s.Stats().UpdatesSame != 1 {
		t.Errorf("the same again: %v, %+v", err, s.Stats())
	}
	serial := s.Zone().Serial
	v.Epoch, v.Writer = 9, "us-west-2"
	if err := s.Update(v); err != nil || !newer(s.Zone().Serial, serial) {
		t.Errorf("a new writer: %v, serial %d after %d", err, s.Zone().Serial, serial)
	}
	if err := s.Update(view()); !errors.Is(err, ErrStale) {
		t.Errorf("a view of an older epoch: %v, want ErrStale", err)
	}
	v.Epoch, v.Writer = 10, "mars"
	if err := s.Update(v); err == nil || errors.Is(err, ErrStale) {
		t.Errorf("a wrong view: %v", err)
	}
	const want = "NOERROR aa\nwrite.session.internal. 10 IN CNAME us-west-2.session.internal."
	if r := ask(t, s, "udp", question("write.session.internal.", wire.TypeCNAME)); say(r) != want {
		t.Errorf("afterwards\n%s\nwant\n%s", say(r), want)
	}
	if st := s.Stats(); st.Updates != 2 || st.UpdatesRefused != 2 || st.Epoch != 9 {
		t.Errorf("Stats = %+v", st)
	}
}

// Whoever asks while the writer changes gets the one or the other, and all of it.
func TestUpdateWhileAsked(t *testing.T) {
	s := start(t, Config{})
	packet := packed(t, question("write.session.internal.", wire.TypeA))
	ended := make(chan struct{})
	done := make(chan string)
	for range 3 {
		go func() {
			bad := ""
			for {
				select {
				case <-ended:
					done <- bad
					return
				default:
				}
				got, release := s.handle(append([]byte(nil), packet...), netip.MustParseAddr("10.0.0.1"), true)
				release()
				r := new(wire.Msg)
				if err := r.Unpack(got[0]); err != nil || len(r.Answer) != 1 && len(r.Answer) != 3 {
					bad = say(r)
				} else if east := strings.Contains(r.Answer[0].String(), "usw1"); east != (len(r.Answer) == 1) {
					bad = say(r)
				}
			}
		}()
	}
	v := view()
	for i := range 500 {
		v.Epoch, v.Writer = uint64(8+i), v.Regions[i%2].Name
		if err := s.Update(v); err != nil {
			t.Error(err)
		}
	}
	close(ended)
	for range 3 {
		if bad := <-done; bad != "" {
			t.Errorf("answered\n%s", bad)
		}
	}
}

func TestBeforeUpdate(t *testing.T) {
	s, err := Start(t.Context(), origin, Config{Listen: []string{"127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Shutdown(t.Context()) }()
	if r := ask(t, s, "udp", question("write.session.internal.", wire.TypeA)); say(r) != "SERVFAIL" {
		t.Errorf("before the first Update: %s", say(r))
	}
	if s.Zone() != nil {
		t.Errorf("Zone = %v", s.Zone())
	}
}

func TestStartFaults(t *testing.T) {
	taken := start(t, Config{}).Addrs()[0].String()
	for name, c := range map[string]struct {
		origin string
		config Config
		want   string
	}{
		"no origin":           {"", Config{}, "origin"},
		"a port that's taken": {origin, Config{Listen: []string{"127.0.0.1:0", taken}}, "in use"},
		"times": {
			origin,
			Config{Zone: ZoneConfig{WriterTTL: 1, FailoverTTL: 25 * time.Hour, NegativeTTL: -1, TTL: 1, Refresh: 1, Retry: 1, Expire: 61 * 24 * time.Hour}},
			"WriterTTL: 1ns is no whole number of seconds from 1 s to 24h0m0s\nFailoverTTL: 25h0m0s is",
		},
		"a mailbox": {origin, Config{Zone: ZoneConfig{Mailbox: "me@example.com"}}, "Mailbox: target"},
		"a writer":  {origin, Config{Zone: ZoneConfig{Writer: "a b"}}, "the writer: name"},
		"no port":   {origin, Config{Listen: []string{"127.0.0.1"}}, "listen"},
		"numbers": {
			origin,
			Config{Rate: -1, Slips: 101, Workers: 257, Conns: 3},
			"Rate is -1, from 1 to 1000000\nSlips is 101, from 1 to 100\nWorkers is 257, from 1 to 256\nConns is 3, from 4 to 65536",
		},
		"addresses":     {origin, Config{Listen: make([]string, 17)}, "at most 16 addresses"},
		"secondaries":   {origin, Config{Secondaries: make([]Secondary, 17)}, "at most 16 addresses and 16 secondaries"},
		"a secondary":   {origin, Config{Secondaries: []Secondary{{Addr: netip.MustParseAddrPort("10.0.0.1:0")}}}, "no address and port"},
		"a short key":   {origin, Config{Secondaries: []Secondary{{Addr: netip.MustParseAddrPort("10.0.0.1:53"), Key: &Key{Name: "k", Secret: []byte("short")}}}}, "at least 16"},
		"a silent time": {origin, Config{Idle: -1}, "below zero"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Start(t.Context(), c.origin, c.config)
			if err == nil {
				_ = s.Shutdown(t.Context())
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Start: %v, want %q", err, c.want)
			}
		})
	}
}

// dial connects to a server by TCP.
func dial(t *testing.T, s *Server) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// say1 asks a question on a connection, and fails if it is not answered.
func say1(c net.Conn) error {
	m := &wire.Conn{Conn: c}
	if err := m.WriteMsg(question("app.session.internal.", wire.TypeA)); err != nil {
		return err
	}
	r, err := m.ReadMsg()
	if err == nil && r.Rcode != wire.RcodeSuccess {
		err = errors.New(say(r))
	}
	return err
}

func TestConnections(t *testing.T) {
	s := start(t, Config{Conns: 8})
	a, b := dial(t, s), dial(t, s)
	for range 3 {
		if err := errors.Join(say1(a), say1(b)); err != nil {
			t.Fatalf("several questions on a connection: %v", err)
		}
	}
	if err := say1(dial(t, s)); err == nil {
		t.Error("a source has more than a quarter of all connections")
	}
	_ = a.Close()
	for end := time.Now().Add(patience); say1(dial(t, s)) != nil; { // the server hears of it in its own time
		if time.Now().After(end) {
			t.Fatal("a connection that ended is not made up for")
		}
	}
	if st := s.Stats(); st.ConnsRefused == 0 {
		t.Errorf("Stats = %+v", st)
	}
}

func TestPipelined(t *testing.T) {
	s := start(t, Config{})
	c := dial(t, s)
	var all []byte
	for i := range 5 {
		m := question("app.session.internal.", wire.TypeA)
		m.Id = uint16(i)
		b, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, framed(b)...)
	}
	if _, err := c.Write(all); err != nil {
		t.Fatal(err)
	}
	m := &wire.Conn{Conn: c}
	for i := range 5 {
		if r, err := m.ReadMsg(); err != nil || int(r.Id) != i {
			t.Fatalf("answer %d: %v, %v", i, r, err)
		}
	}
}

func TestConnectionsEnd(t *testing.T) {
	s := start(t, Config{Idle: time.Millisecond})
	if _, err := dial(t, s).Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a silent connection: %v, want its end", err)
	}
	s = start(t, Config{Idle: time.Hour})
	c := dial(t, s)
	if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, 12), "\x00\x01\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("what is no question: %v, want the connection's end", err)
	}
}

func TestShutdown(t *testing.T) {
	s := start(t, Config{Idle: time.Hour})
	idle := dial(t, s)
	if err := say1(idle); err != nil {
		t.Fatal(err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatalf("Shutdown with an idle connection: %v", err)
	}
	if _, err := idle.Read(make([]byte, 1)); err == nil {
		t.Error("the connection goes on")
	}
	if _, err := net.Dial("tcp", s.Addrs()[0].String()); err == nil {
		t.Error("the server takes connections after its end")
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("again: %v", err)
	}
}

func TestEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s, err := Start(ctx, origin, Config{Listen: []string{"127.0.0.1:0", "[::1]:0"}})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	s.wg.Wait() // it does not wait for Shutdown
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestRateLimit(t *testing.T) {
	s := start(t, Config{Rate: 1, Slips: 2})
	m, err := question("app.session.internal.", wire.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	var full, short, none int
	for range 40 { // at one moment, nearly: each second lets one more pass
		got, release := s.handle(append([]byte(nil), m...), netip.MustParseAddr("10.0.0.1"), false)
		release()
		if got == nil {
			none++
			continue
		}
		r := new(wire.Msg)
		if err := r.Unpack(got[0]); err != nil {
			t.Fatal(err)
		}
		if full += len(r.Answer); r.Truncated && len(r.Answer) == 0 && len(got[0]) == len(m) {
			short++
		}
	}
	if full < 1 || full > 20 || none < short || none > short+1 || full+short+none != 40 {
		t.Errorf("40 requests: %d answered, %d slipped, %d dropped", full, short, none)
	}
	if st := s.Stats(); st.Dropped != uint64(none) || st.Slipped != uint64(short) {
		t.Errorf("%d slipped, %d dropped, Stats = %+v", short, none, st)
	}
	if got, _ := s.handle(m, netip.MustParseAddr("10.0.0.1"), true); got == nil {
		t.Error("by TCP there is no answer either")
	}
}

func BenchmarkHandle(b *testing.B) {
	for name, m := range map[string]*wire.Msg{
		"writer": question("write.session.internal.", wire.TypeA), "nothing": question("mars.session.internal.", wire.TypeA),
		"services": question("_web._tcp.session.internal.", wire.TypeSRV).SetEdns0(1232, false),
	} {
		b.Run(name, func(b *testing.B) {
			s := start(b, Config{Rate: 1_000_000})
			packet, err := m.Pack()
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				got, release := s.handle(packet, netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}), false)
				if release(); got == nil {
					b.Fatal("it is not answered")
				}
			}
		})
	}
}

func TestMalformed(t *testing.T) {
	s := start(t, Config{})
	from := netip.MustParseAddr("10.0.0.1")
	for name, c := range map[string]struct {
		packet string
		want   string // of the answer; empty: none
	}{
		"nothing":              {"", ""},
		"eleven bytes":         {"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00", ""},
		"an answer":            {"\x12\x34\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00", ""},
		"a broken question":    {"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x05abc", "\x12\x34\x81\x01\x00\x00\x00\x00\x00\x00\x00\x00"},
		"a pointer to itself":  {"\x12\x34\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01", "\x12\x34\x80\x01\x00\x00\x00\x00\x00\x00\x00\x00"},
		"an update, broken":    {"\x12\x34\x28\x00\x00\x01\x00\x00\x00\x00\x00\x00\x05abc", "\x12\x34\xa8\x01\x00\x00\x00\x00\x00\x00\x00\x00"},
		"records it announces": {"\x12\x34\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00", "\x12\x34\x80\x01\x00\x00\x00\x00\x00\x00\x00\x00"},
	} {
		t.Run(name, func(t *testing.T) {
			got, release := s.handle([]byte(c.packet), from, false)
			release()
			if c.want == "" {
				if got != nil {
					t.Errorf("answered %x", got)
				}
				return
			}
			if len(got) != 1 || string(got[0]) != c.want {
				t.Errorf("answered %x, want %x", got, c.want)
			}
		})
	}
}
