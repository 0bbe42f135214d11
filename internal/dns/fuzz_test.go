package dns

import (
	"net/netip"
	"testing"

	wire "github.com/miekg/dns"
)

// FuzzHandle gives a server whatever bytes. It must not fail, and what it answers must be an
// answer, to the same request, that fits.
func FuzzHandle(f *testing.F) {
	key := &Key{Name: "transfer", Secret: []byte("0123456789abcdef")}
	s := start(f, Config{Rate: 1_000_000, Secondaries: []Secondary{
		{Addr: netip.MustParseAddrPort("127.0.0.2:1"), Key: key},
		{Addr: netip.MustParseAddrPort("127.0.0.3:1")},
	}})
	for _, m := range []*wire.Msg{
		question("write.session.internal.", wire.TypeA), question("many.session.internal.", wire.TypeA),
		question("_web._tcp.session.internal.", wire.TypeSRV), question(origin, wire.TypeAXFR),
		question(origin, wire.TypeANY), question("example.com.", wire.TypeA),
		new(wire.Msg).SetIxfr(origin, 1, "a.", "b."), new(wire.Msg).SetNotify(origin), new(wire.Msg).SetUpdate(origin),
		question(origin, wire.TypeSOA).SetEdns0(4096, true), question(origin, wire.TypeAXFR).SetTsig("transfer.", wire.HmacSHA256, 300, 1),
	} {
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, true)
		f.Add(b, false)
		f.Add(b[:len(b)-3], false)
	}
	f.Add([]byte("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01"), false)
	f.Fuzz(func(t *testing.T, packet []byte, tcp bool) {
		if len(packet) > wire.MaxMsgSize {
			return
		}
		id := append([]byte(nil), packet...)
		size := wire.MaxMsgSize
		if !tcp {
			size = payload
		}
		for _, from := range []string{"127.0.0.2", "127.0.0.3", "10.0.0.1"} {
			answers, release := s.handle(append([]byte(nil), packet...), netip.MustParseAddr(from), tcp)
			release()
			for _, b := range answers {
				r := new(wire.Msg)
				if err := r.Unpack(b); err != nil {
					t.Fatalf("%x is answered with %x: %v", packet, b, err)
				}
				if !r.Response || len(b) > size || b[0] != id[0] || b[1] != id[1] || r.RecursionAvailable {
					t.Fatalf("%x is answered with %d bytes\n%v", packet, len(b), r)
				}
				if len(answers) > 1 && from == "10.0.0.1" {
					t.Fatalf("a stranger got the zone for %x", packet)
				}
			}
		}
	})
}

// FuzzMark reads whatever a foreign server has beside our name: only what we write is a mark.
func FuzzMark(f *testing.F) {
	f.Add("roam1", "7", "east.example.")
	f.Add("roam1", "18446744073709551615", "a.")
	f.Add("roam1", "007", "East.example")
	f.Add("v=spf1", "-all", "")
	f.Fuzz(func(t *testing.T, version, epoch, target string) {
		w, err := parseMark([]string{version, epoch, target})
		if err != nil {
			return
		}
		if text := w.text(); text[0] != version || text[1] != epoch || text[2] != target {
			t.Errorf("parseMark(%q, %q, %q) = %v, which is %q", version, epoch, target, w, text)
		}
	})
}

// FuzzName gives parseName whatever text: what it takes is a name that it takes again.
func FuzzName(f *testing.F) {
	for _, s := range []string{"write.session.internal.", "_roam._tcp", "A-b.c", "-", "a..b", ".", `a\.b.`, "ü"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := parseName(s)
		if err != nil {
			return
		}
		if again, err := parseName(name); err != nil || again != name || wire.CanonicalName(s) != name {
			t.Errorf("parseName(%q) = %q, and of that %q, %v", s, name, again, err)
		}
		if _, ok := wire.IsDomainName(name); !ok {
			t.Errorf("parseName(%q) = %q, which no message takes", s, name)
		}
	})
}
