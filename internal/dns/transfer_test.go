package dns

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	wire "github.com/miekg/dns"
)

func secret(k *Key) map[string]string {
	return map[string]string{k.Name + ".": base64.StdEncoding.EncodeToString(k.Secret)}
}

func testKey(name string) *Key {
	return &Key{Name: name, Secret: []byte("a secret of " + name + ", long enough")}
}

// here is an address of loopback at which nobody listens.
func here() netip.AddrPort { return netip.MustParseAddrPort("127.0.0.1:9") }

// large has a zone of several messages.
func large() View {
	v := view()
	for i := range 1500 {
		v.Names = append(v.Names, Name{Name: fmt.Sprintf("name-%d", i), Endpoint: Endpoint{Addrs: addrs("10.7.0.1")}})
	}
	return v
}

// fetch transfers the zone.
func fetch(t *testing.T, s *Server, m *wire.Msg, key *Key) (rrs []wire.RR, messages int, err error) {
	t.Helper()
	tr := &wire.Transfer{DialTimeout: patience, ReadTimeout: patience}
	if key != nil {
		tr.TsigSecret = secret(key)
		m.SetTsig(key.Name+".", wire.HmacSHA256, 300, time.Now().Unix())
	}
	ch, err := tr.In(m, s.Addrs()[0].String())
	if err != nil {
		return nil, 0, err
	}
	for e := range ch {
		if e.Error != nil {
			err = e.Error
		}
		messages++
		rrs = append(rrs, e.RR...)
	}
	return rrs, messages, err
}

// checkWhole looks whether records are those of a zone, between its SOA twice.
func checkWhole(t *testing.T, z *Zone, rrs []wire.RR) {
	t.Helper()
	var b strings.Builder
	for _, rr := range rrs {
		b.WriteString(rr.String() + "\n")
	}
	if want := z.String() + z.soa.String() + "\n"; b.String() != want {
		t.Errorf("transferred\n%.2000s\nwant\n%.2000s", b.String(), want)
	}
}

func TestTransfer(t *testing.T) {
	for _, key := range []*Key{nil, testKey("transfer")} {
		s := start(t, Config{Secondaries: []Secondary{{Addr: here(), Key: key}}})
		if err := s.Update(large()); err != nil {
			t.Fatal(err)
		}
		rrs, messages, err := fetch(t, s, new(wire.Msg).SetAxfr(origin), key)
		if err != nil || messages < 3 {
			t.Fatalf("AXFR signed with %v: %d messages, %v", key, messages, err)
		}
		checkWhole(t, s.Zone(), rrs)
		serial := s.Zone().Serial
		rrs, _, err = fetch(t, s, new(wire.Msg).SetIxfr(origin, serial-1, "a.", "b."), key)
		if err != nil {
			t.Fatalf("IXFR: %v", err)
		}
		checkWhole(t, s.Zone(), rrs)
		for _, known := range []uint32{serial, serial + 1} {
			rrs, _, err = fetch(t, s, new(wire.Msg).SetIxfr(origin, known, "a.", "b."), key)
			if err != nil || len(rrs) != 1 {
				t.Errorf("IXFR of serial %d, where %d is the last: %d records, %v, want the SOA alone", known, serial, len(rrs), err)
			}
		}
		if st := s.Stats(); st.Transfers != 2 || st.TransfersRefused != 0 || len(s.transfers) != 0 {
			t.Errorf("Stats = %+v, %d under way", st, len(s.transfers))
		}
	}
}

func TestTransferOverTheEndOfSerials(t *testing.T) {
	s := start(t, Config{Secondaries: []Secondary{{Addr: here()}}})
	z := *s.Zone()
	soa := *z.soa
	z.soa = &soa
	z.number(5) // a serial that came after the last there is
	s.zone.Store(&z)
	rrs, _, err := fetch(t, s, new(wire.Msg).SetAxfr(origin), nil)
	if err != nil {
		t.Fatal(err)
	}
	checkWhole(t, &z, rrs)
	got, release := s.handle(packed(t, new(wire.Msg).SetIxfr(origin, 1<<32-10, "a.", "b.")), here().Addr(), true)
	release()
	if r := unpacked(t, got[0]); len(r.Answer) != len(z.records)+2 {
		t.Errorf("IXFR from before the end: %d records, want all", len(r.Answer))
	}
}

func packed(t *testing.T, m *wire.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func unpacked(t *testing.T, b []byte) *wire.Msg {
	t.Helper()
	m := new(wire.Msg)
	if err := m.Unpack(b); err != nil {
		t.Fatal(err)
	}
	return m
}

// signed packs a request as whoever has the key does, and returns its signature too.
func signed(t *testing.T, m *wire.Msg, key *Key, algorithm string, at time.Time) ([]byte, string) {
	t.Helper()
	m.SetTsig(key.Name+".", algorithm, 300, at.Unix())
	b, mac, err := wire.TsigGenerate(m, base64.StdEncoding.EncodeToString(key.Secret), "", false)
	if err != nil {
		t.Fatal(err)
	}
	return b, mac
}

func TestTransferRefused(t *testing.T) {
	right, other := testKey("right"), testKey("other")
	s := start(t, Config{Secondaries: []Secondary{
		{Addr: netip.MustParseAddrPort("10.0.0.1:53"), Key: right},
		{Addr: netip.MustParseAddrPort("10.0.0.2:53"), Key: other},
		{Addr: netip.MustParseAddrPort("10.0.0.3:53")},
	}})
	with := func(key *Key) []byte {
		m := new(wire.Msg).SetAxfr(origin)
		if key == nil {
			return packed(t, m)
		}
		b, _ := signed(t, m, key, wire.HmacSHA256, time.Now())
		return b
	}
	for _, c := range []struct {
		name, from string
		packet     []byte
		tcp        bool
		want       string
	}{
		{"with the key", "10.0.0.1", with(right), true, "NOERROR"},
		{"with no key", "10.0.0.1", with(nil), true, "REFUSED"},
		{"with the key of another", "10.0.0.1", with(other), true, "REFUSED"},
		{"the key from elsewhere", "10.0.0.9", with(right), true, "REFUSED"},
		{"no key is asked for", "10.0.0.3", with(nil), true, "NOERROR"},
		{"no key is asked for, and one given", "10.0.0.3", with(right), true, "NOERROR"},
		{"a stranger", "10.0.0.4", with(nil), true, "REFUSED"},
		{"by UDP", "10.0.0.3", with(nil), false, "FORMERR"},
		{"a stranger by UDP", "10.0.0.4", with(nil), false, "REFUSED"},
	} {
		answers, release := s.handle(c.packet, netip.MustParseAddr(c.from), c.tcp)
		release()
		r := unpacked(t, answers[0])
		if got := wire.RcodeToString[r.Rcode]; got != c.want || (got == "NOERROR") != (len(r.Answer) > 3) {
			t.Errorf("%s: %s with %d records, want %s", c.name, got, len(r.Answer), c.want)
		}
	}
}

func TestIxfrByUDP(t *testing.T) {
	s := start(t, Config{Secondaries: []Secondary{{Addr: here()}}})
	got, _ := s.handle(packed(t, new(wire.Msg).SetIxfr(origin, 1, "a.", "b.")), here().Addr(), false)
	if r := unpacked(t, got[0]); r.Rcode != wire.RcodeSuccess || len(r.Answer) != 1 || r.Answer[0].(*wire.SOA).Serial != s.Zone().Serial {
		t.Errorf("answered %s, want the SOA alone", say(r))
	}
}

func TestTransfersAtATime(t *testing.T) {
	s := start(t, Config{Secondaries: []Secondary{{Addr: here()}}})
	b := packed(t, new(wire.Msg).SetAxfr(origin))
	try := func() (int, func()) {
		got, release := s.handle(append([]byte(nil), b...), here().Addr(), true)
		return unpacked(t, got[0]).Rcode, release
	}
	var releases []func()
	for range maxTransfers {
		rcode, release := try()
		if rcode != wire.RcodeSuccess {
			t.Fatalf("transfer %d: %d", len(releases)+1, rcode)
		}
		releases = append(releases, release)
	}
	if rcode, release := try(); rcode != wire.RcodeRefused {
		t.Errorf("transfer %d: %d, want to be refused", maxTransfers+1, rcode)
	} else {
		release()
	}
	releases[0]()
	if rcode, release := try(); rcode != wire.RcodeSuccess {
		t.Errorf("after one has ended: %d", rcode)
	} else {
		release()
	}
}

func TestTransferBeforeUpdate(t *testing.T) {
	s, err := Start(t.Context(), origin, Config{Listen: []string{"127.0.0.1:0"}, Secondaries: []Secondary{{Addr: here()}}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Shutdown(t.Context()) }()
	if _, _, err := fetch(t, s, new(wire.Msg).SetAxfr(origin), nil); err == nil || !strings.Contains(err.Error(), "rcode: 2") {
		t.Errorf("AXFR of nothing: %v, want SERVFAIL", err)
	}
}

// A connection that takes a long transfer keeps others from nothing, and ends in time.
func TestTransferIsNotTaken(t *testing.T) {
	s := start(t, Config{Secondaries: []Secondary{{Addr: here()}}, Idle: time.Second})
	if err := s.Update(large()); err != nil {
		t.Fatal(err)
	}
	c := dial(t, s)
	_ = c.(*net.TCPConn).SetReadBuffer(1)
	ask := framed(packed(t, new(wire.Msg).SetAxfr(origin)))
	for range 200 {
		if _, err := c.Write(ask); err != nil {
			break
		}
	}
	for end := time.Now().Add(patience); s.Stats().Unsent == 0; {
		if time.Now().After(end) {
			t.Fatalf("the server writes on: %+v", s.Stats())
		}
	}
	if rrs, _, err := fetch(t, s, new(wire.Msg).SetAxfr(origin), nil); err != nil || len(rrs) < 1500 {
		t.Errorf("another transfer: %d records, %v", len(rrs), err)
	}
}

func TestSignedAnswers(t *testing.T) {
	key := testKey("right")
	s := start(t, Config{Secondaries: []Secondary{{Addr: here(), Key: key}}})
	m := question("many.session.internal.", wire.TypeA)
	m.SetEdns0(1232, false)
	packet, mac := signed(t, m, key, wire.HmacSHA256, time.Now())
	got, _ := s.handle(packet, here().Addr(), false)
	if err := wire.TsigVerify(append([]byte(nil), got[0]...), base64.StdEncoding.EncodeToString(key.Secret), mac, false); err != nil {
		t.Errorf("the signature of the answer: %v", err)
	}
	r := unpacked(t, got[0])
	if len(r.Answer) != 60 || len(got[0]) > 1232 {
		t.Errorf("answered %d bytes: %s", len(got[0]), say(r))
	}
	// Where the signature is what does not fit, the answer is cut short.
	m = question("many.session.internal.", wire.TypeA)
	m.SetEdns0(uint16(len(got[0])-1), false)
	packet, _ = signed(t, m, key, wire.HmacSHA256, time.Now())
	short, _ := s.handle(packet, here().Addr(), false)
	if r := unpacked(t, short[0]); !r.Truncated || len(short[0]) >= len(got[0]) || r.IsTsig() == nil {
		t.Errorf("answered %d bytes: %s", len(short[0]), say(r))
	}
}

func TestBadSignatures(t *testing.T) {
	key := testKey("right")
	s := start(t, Config{Secondaries: []Secondary{{Addr: here(), Key: key}}})
	forged := testKey("right")
	forged.Secret = []byte("some other secret")
	sign := func(k *Key, algorithm string, at time.Time) []byte {
		b, _ := signed(t, question("app.session.internal.", wire.TypeA), k, algorithm, at)
		return b
	}
	changed := sign(key, wire.HmacSHA256, time.Now())
	changed[headerBytes+1] ^= 1
	for _, c := range []struct {
		name   string
		packet []byte
		fault  uint16
		signed bool
	}{
		{"a key that nobody knows", sign(testKey("other"), wire.HmacSHA256, time.Now()), wire.RcodeBadKey, false},
		{"another algorithm", sign(key, wire.HmacSHA512, time.Now()), wire.RcodeBadKey, false},
		{"another secret", sign(forged, wire.HmacSHA256, time.Now()), wire.RcodeBadSig, false},
		{"another question", changed, wire.RcodeBadSig, false},
		{"yesterday", sign(key, wire.HmacSHA256, time.Now().Add(-24*time.Hour)), wire.RcodeBadTime, true},
		{"tomorrow", sign(key, wire.HmacSHA256, time.Now().Add(24*time.Hour)), wire.RcodeBadTime, true},
	} {
		got, _ := s.handle(c.packet, here().Addr(), false)
		r := unpacked(t, got[0])
		sig := r.IsTsig()
		if r.Rcode != wire.RcodeNotAuth || len(r.Answer) != 0 || sig == nil || sig.Error != c.fault || (sig.MACSize > 0) != c.signed {
			t.Errorf("%s: answered %v", c.name, r)
			continue
		}
		if at := time.Unix(int64(sig.TimeSigned), 0); c.signed && time.Since(at).Abs() < 23*time.Hour {
			t.Errorf("%s: the answer is signed as of %v: whoever asked does not take it", c.name, at)
		}
		if other, err := hex.DecodeString(sig.OtherData); c.fault == wire.RcodeBadTime && (err != nil || len(other) != 6) {
			t.Errorf("%s: our time is %x, %v", c.name, other, err)
		}
	}
	if st := s.Stats(); st.BadSignatures != 6 || st.Other != 6 {
		t.Errorf("Stats = %+v", st)
	}
}

// A signature that is cut short is none, however right its beginning is.
func TestShortSignature(t *testing.T) {
	key := testKey("right")
	s := start(t, Config{Secondaries: []Secondary{{Addr: here(), Key: key}}})
	b, mac := signed(t, question(origin, wire.TypeSOA), key, wire.HmacSHA256, time.Now())
	for _, size := range []int{0, 1, 16, 31} {
		m := unpacked(t, b)
		sig := m.IsTsig()
		sig.MAC, sig.MACSize = mac[:2*size], uint16(size)
		got, _ := s.handle(packed(t, m), here().Addr(), false)
		if r := unpacked(t, got[0]); r.IsTsig() == nil || r.IsTsig().Error != wire.RcodeBadSig {
			t.Errorf("%d bytes of a signature: %v", size, r)
		}
	}
}

func TestSignatureOfNothing(t *testing.T) {
	s := start(t, Config{})
	m := question(origin, wire.TypeSOA)
	m.Extra = []wire.RR{&wire.RFC3597{Hdr: wire.RR_Header{Name: "right.", Rrtype: wire.TypeTSIG, Class: wire.ClassANY}}}
	got, _ := s.handle(packed(t, m), here().Addr(), false)
	if r := unpacked(t, got[0]); r.Rcode != wire.RcodeFormatError {
		t.Errorf("answered %v", r)
	}
	if got := (&signature{tsig: &wire.TSIG{Hdr: wire.RR_Header{Name: "right."}}, fault: wire.RcodeBadSig}).signer(); got != "" {
		t.Errorf("a wrong signature is of %q", got)
	}
}

func TestMisplacedSignature(t *testing.T) {
	s := start(t, Config{})
	m := question(origin, wire.TypeSOA)
	m.SetTsig("right.", wire.HmacSHA256, 300, 1)
	m.SetEdns0(1232, false) // behind it
	got, _ := s.handle(packed(t, m), here().Addr(), false)
	if r := unpacked(t, got[0]); r.Rcode != wire.RcodeFormatError {
		t.Errorf("answered %v", r)
	}
}

func TestKeys(t *testing.T) {
	k := &Key{Name: "k", Secret: []byte("sixteen bytes...")}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(format, *k) + fmt.Sprintf(format, Secondary{Key: k}.Key); strings.Contains(got, "sixteen") || strings.Contains(got, "73 69") {
			t.Errorf("%s prints the secret: %s", format, got)
		}
	}
	same, other := *k, *k
	other.Secret = []byte("SIXTEEN BYTES...")
	for name, c := range map[string]struct {
		keys []*Key
		want string
	}{
		"one":               {[]*Key{k, nil, &same}, ""},
		"two secrets":       {[]*Key{k, &other}, "two secrets"},
		"no name":           {[]*Key{{Secret: k.Secret}}, "name of a key"},
		"an old algorithm":  {[]*Key{{Name: "k", Secret: k.Secret, Algorithm: "hmac-sha1"}}, "hmac-sha1"},
		"a short secret":    {[]*Key{{Name: "k", Secret: k.Secret[1:]}}, "15 bytes, at least 16"},
		"another algorithm": {[]*Key{{Name: "k", Secret: k.Secret, Algorithm: "hmac-sha384"}}, ""},
		"and another":       {[]*Key{{Name: "k", Secret: k.Secret, Algorithm: "HMAC-SHA512."}}, ""},
	} {
		ring, err := newKeyring(c.keys...)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if _, ok := ring["k."]; c.want == "" && !ok {
			t.Errorf("%s: there is no such key", name)
		}
	}
}
