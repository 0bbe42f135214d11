package dns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	wire "github.com/miekg/dns"
)

// A hearer is a secondary in virtual time: it notes when it was told of which serial, and
// answers as it is told to.
type hearer struct {
	times   []time.Duration
	serials []uint32
	answer  func(n int) (int, error)
}

// tell runs a teller for a while; steps happen at their times.
func (h *hearer) tell(t *testing.T, s *Server, d time.Duration, steps map[time.Duration]func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	began := time.Now()
	tl := newTeller(Secondary{Addr: here()}, nil, netip.Addr{})
	tl.ask = func(_ context.Context, m *wire.Msg) (*wire.Msg, error) {
		h.times = append(h.times, time.Since(began))
		h.serials = append(h.serials, m.Answer[0].(*wire.SOA).Serial)
		if m.Opcode != wire.OpcodeNotify || !m.Authoritative || m.Question[0].Qtype != wire.TypeSOA || m.Question[0].Name != origin {
			t.Errorf("told %v", m)
		}
		rcode, err := h.answer(len(h.times))
		if err != nil {
			return nil, err
		}
		return new(wire.Msg).SetRcode(m, rcode), nil
	}
	s.tellers = []*teller{tl}
	for at, step := range steps {
		time.AfterFunc(at, step)
	}
	done := make(chan struct{})
	go func() { defer close(done); tl.run(ctx, s) }()
	time.Sleep(d)
	cancel()
	<-done
}

// quiet is a server without sockets.
func quiet() *Server {
	c, _ := Config{}.withDefaults()
	return &Server{origin: origin, config: c}
}

func (s *Server) mustUpdate(t *testing.T, change func(*View)) {
	t.Helper()
	v := view()
	change(&v)
	if err := s.Update(v); err != nil {
		t.Error(err)
	}
}

func TestNotifyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour) // the first serial is above zero
		s := quiet()
		h := hearer{answer: func(int) (int, error) { return 0, nil }}
		h.tell(t, s, time.Minute, map[time.Duration]func(){
			time.Second:     func() { s.mustUpdate(t, func(*View) {}) },
			2 * time.Second: func() { s.mustUpdate(t, func(*View) {}) }, // nothing new
			3 * time.Second: func() { s.mustUpdate(t, func(v *View) { v.Epoch, v.Writer = 8, "us-west-2" }) },
		})
		if len(h.times) != 2 || h.times[0] != time.Second || h.times[1] != 3*time.Second || h.serials[1] != s.Zone().Serial {
			t.Errorf("told of %v at %v", h.serials, h.times)
		}
		if st := s.Stats(); st.Notified != 2 || st.NotifyFailed != 0 {
			t.Errorf("Stats = %+v", st)
		}
	})
}

func TestNotifyTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := quiet()
		h := hearer{answer: func(int) (int, error) { return 0, errors.New("no route") }}
		h.tell(t, s, time.Hour, map[time.Duration]func(){0: func() { s.mustUpdate(t, func(*View) {}) }})
		want := []float64{0, 1, 3, 7, 15}
		for i, at := range h.times {
			if i >= len(want) || at.Seconds() != want[i] {
				t.Fatalf("told at %v, want at %v s", h.times, want)
			}
		}
		if st := s.Stats(); len(h.times) != len(want) || st.NotifyFailed != 5 || st.NotifyGaveUp != 1 || st.Notified != 0 {
			t.Errorf("told %d times, Stats = %+v", len(h.times), st)
		}
	})
}

func TestNotifyRefusedIsNoSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := quiet()
		h := hearer{answer: func(n int) (int, error) {
			if n < 3 {
				return wire.RcodeRefused, nil
			}
			return wire.RcodeSuccess, nil
		}}
		h.tell(t, s, time.Hour, map[time.Duration]func(){0: func() { s.mustUpdate(t, func(*View) {}) }})
		if st := s.Stats(); len(h.times) != 3 || st.Notified != 1 || st.NotifyFailed != 2 || st.NotifyGaveUp != 0 {
			t.Errorf("told at %v, Stats = %+v", h.times, st)
		}
	})
}

// A change while a secondary does not answer is told at once, and tried as often as any.
func TestNotifyOfNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := quiet()
		h := hearer{answer: func(int) (int, error) { return 0, errors.New("no route") }}
		h.tell(t, s, time.Hour, map[time.Duration]func(){
			0:               func() { s.mustUpdate(t, func(*View) {}) },
			5 * time.Second: func() { s.mustUpdate(t, func(v *View) { v.Writer, v.Epoch = "us-west-2", 8 }) },
		})
		want := []int{0, 1, 3, 5, 6, 8, 12, 20}
		if len(h.times) != len(want) || h.times[3] != 5*time.Second || h.times[7] != 20*time.Second || h.serials[3] != s.Zone().Serial {
			t.Errorf("told of %v at %v, want at %v s", h.serials, h.times, want)
		}
	})
}

// Changes in quick succession are told with a gap, and the last of them is.
func TestNotifyGap(t *testing.T) {
	for _, fails := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := quiet()
			h := hearer{answer: func(int) (int, error) {
				if fails {
					return 0, errors.New("no route")
				}
				return 0, nil
			}}
			steps := map[time.Duration]func(){}
			for i := range 1000 {
				steps[time.Duration(i)*time.Millisecond] = func() {
					s.mustUpdate(t, func(v *View) { v.Regions[1].Port, v.Epoch, v.Writer = uint16(i+1), 8, "us-west-2" })
				}
			}
			h.tell(t, s, 1500*time.Millisecond, steps)
			if len(h.times) > 7 || h.serials[len(h.serials)-1] != s.Zone().Serial {
				t.Errorf("fails %v: told of %v at %v, the last is %d", fails, h.serials, h.times, s.Zone().Serial)
			}
			for i := 1; i < len(h.times); i++ {
				if gap := h.times[i] - h.times[i-1]; gap < notifyGap {
					t.Errorf("fails %v: told twice in %v", fails, gap)
				}
			}
		})
	}
}

// TestNotifyByUDP has a secondary on loopback, that signs or does not.
func TestNotifyByUDP(t *testing.T) {
	key := testKey("notify")
	p, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	_ = p.SetDeadline(time.Now().Add(patience))
	to := p.LocalAddr().(*net.UDPAddr).AddrPort()
	s := start(t, Config{Secondaries: []Secondary{{Addr: to, Key: key}}})
	ring, err := newKeyring(key)
	if err != nil {
		t.Fatal(err)
	}
	hear := func(sign bool) *wire.Msg {
		buf := make([]byte, 4096)
		n, from, err := p.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		m := unpacked(t, buf[:n])
		if from := from.(*net.UDPAddr).AddrPort().Addr(); from != s.Addrs()[0].Addr() {
			t.Errorf("told from %v, want from where the server is", from)
		}
		sig, err := ring.authenticate(buf[:n], m)
		if err != nil || sig.signer() != "notify." {
			t.Errorf("told with signature %+v, %v", sig, err)
		}
		if !sign {
			sig = nil
		}
		b, err := ring.pack(new(wire.Msg).SetReply(m), sig, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.WriteTo(b, from); err != nil {
			t.Fatal(err)
		}
		return m
	}
	hear(false) // anybody could have said that
	if m := hear(true); m.Answer[0].(*wire.SOA).Serial != s.Zone().Serial {
		t.Errorf("told of %v", m)
	}
	for end := time.Now().Add(patience); s.Stats().Notified == 0; {
		if time.Now().After(end) {
			t.Fatal("the server does not know that it was heard")
		}
	}
	if st := s.Stats(); st.Notified != 1 || st.NotifyFailed == 0 {
		t.Errorf("Stats = %+v", st)
	}
}
