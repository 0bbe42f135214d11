//go:build integration

package dns

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	wire "github.com/miekg/dns"

	"github.com/roam-sessions/roam/internal/freeport"
)

// startTimeout is how long BIND may take to answer on a busy machine.
const startTimeout = 30 * time.Second

// program finds a program of BIND. Without it the test fails where CI=true, and is skipped
// elsewhere.
func program(t *testing.T, name string) string {
	t.Helper()
	for _, at := range []string{name, filepath.Join("/usr/sbin", name)} { // where users have no sbin on their PATH
		if path, err := exec.LookPath(at); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("no %s on the PATH: run ./scripts/install-test-deps.sh", name)
	}
	t.Skipf("NOT TESTED beside BIND: no %s on the PATH; run ./scripts/install-test-deps.sh", name)
	return ""
}

// A bind is a BIND on loopback that ends with the test.
type bind struct {
	t    *testing.T
	dir  string
	port string
	cmd  *exec.Cmd
}

// newBind starts a server of some zones at a port, as named.conf has them. Files are put
// beside them.
func newBind(t *testing.T, port, zones string, files map[string]string) *bind {
	t.Helper()
	b := &bind{t: t, dir: t.TempDir(), port: port}
	files["named.conf"] = `
options {
	directory "` + b.dir + `"; pid-file none; session-keyfile none; listen-on-v6 { none; };
	listen-on port ` + b.port + ` { 127.0.0.1; }; recursion no; dnssec-validation no; notify no; request-ixfr yes;
};
controls { };
` + zones
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Debian's AppArmor lets what lies in /usr/sbin read nothing of ours: a copy may.
	text, err := os.ReadFile(program(t, "named"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.dir, "named"), text, 0o700); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	b.start()
	t.Cleanup(b.kill)
	return b
}

func (b *bind) addr() string { return net.JoinHostPort("127.0.0.1", b.port) }

func (b *bind) start() {
	b.t.Helper()
	log, err := os.OpenFile(filepath.Join(b.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = log.Close() }() // the server has it too
	b.cmd = exec.Command(filepath.Join(b.dir, "named"), "-g", "-n", "1", "-c", filepath.Join(b.dir, "named.conf"))
	b.cmd.Stdout, b.cmd.Stderr = log, log
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := b.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	m := question("version.bind.", wire.TypeTXT)
	m.Question[0].Qclass = wire.ClassCHAOS
	b.eventually("BIND answers", func() bool {
		r, err := wire.Exchange(m, b.addr())
		return err == nil && len(r.Answer) == 1
	})
}

// kill ends the server without a word.
func (b *bind) kill() {
	if b.cmd.ProcessState == nil {
		_ = b.cmd.Process.Kill() // it has gone if that fails
		_ = b.cmd.Wait()         // killed, as it was told
	}
}

// eventually waits until something is so.
func (b *bind) eventually(what string, is func() bool) {
	b.t.Helper()
	for end := time.Now().Add(startTimeout); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			log, _ := os.ReadFile(filepath.Join(b.dir, "log")) // it may not be there
			b.t.Fatalf("not in %v: %s; BIND says\n%s", startTimeout, what, log)
		}
	}
}

// freePort returns a port that neither UDP nor TCP has just now.
func freePort(t *testing.T) string {
	t.Helper()
	port, err := freeport.Port(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// run runs a program of BIND's and returns what it prints, with what it complains of.
func run(t *testing.T, stdin, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(t, name), args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, _ := cmd.CombinedOutput() // what it says tells more than its code
	return string(out)
}

// dig asks a server with dig.
func dig(t *testing.T, at string, args ...string) string {
	t.Helper()
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		t.Fatal(err)
	}
	return run(t, "", "dig", append([]string{"@" + host, "-p", port, "+tries=1", "+time=5"}, args...)...)
}

// keyText is a key as named.conf has it.
func keyText(k *Key) string {
	return `key "` + k.Name + `" { algorithm hmac-sha256; secret "` + base64.StdEncoding.EncodeToString(k.Secret) + "\"; };\n"
}

func digKey(k *Key) string {
	return "hmac-sha256:" + k.Name + ":" + base64.StdEncoding.EncodeToString(k.Secret)
}

// short asks BIND for a name, and returns its data.
func (b *bind) short(name, rrtype string) string {
	b.t.Helper()
	return strings.TrimSpace(dig(b.t, b.addr(), "+short", "+norecurse", name, rrtype))
}

func TestDig(t *testing.T) {
	key := testKey("transfer")
	s := start(t, Config{Secondaries: []Secondary{{Addr: here(), Key: key}}})
	at := s.Addrs()[0].String()
	for _, c := range []struct {
		name string
		args []string
		has  []string
		not  string
	}{
		{"the writer", []string{"write.session.internal"}, []string{"status: NOERROR", "flags: qr aa rd;", "write.session.internal. 10 IN CNAME master.usw1.cache.example.", "EDNS: version: 0, flags:; udp: 1232", "recursion requested but not available"}, "flags: qr aa rd ra"},
		{"by TCP", []string{"+tcp", "app.session.internal"}, []string{"app.session.internal. 5 IN A 10.1.0.9", "(TCP)"}, "(UDP)"},
		{"without options", []string{"+noedns", "app.session.internal"}, []string{"app.session.internal. 5 IN A 10.1.0.9"}, "EDNS"},
		{"too long for UDP", []string{"+bufsize=512", "many.session.internal"}, []string{"Truncated, retrying in TCP mode", "ANSWER: 60"}, "warning"},
		{"too long, and no TCP", []string{"+bufsize=512", "+ignore", "many.session.internal"}, []string{"flags: qr aa tc rd;", "ANSWER: 0"}, "10.8.0."},
		{"another version of options", []string{"+edns=1", "+noednsnegotiation", "app.session.internal"}, []string{"status: BADVERS", "EDNS: version: 0"}, "10.1.0.9"},
		{"options that nobody knows", []string{"+ednsopt=65001:beef", "+cookie=0123456789abcdef", "+nsid", "app.session.internal"}, []string{"status: NOERROR", "10.1.0.9"}, "OPT=65001"},
		{"with DNSSEC", []string{"+dnssec", "app.session.internal"}, []string{"flags: do; udp: 1232", "10.1.0.9"}, "RRSIG"},
		{"a service", []string{"_web._tcp.session.internal", "SRV"}, []string{"SRV 0 0 443 us-west-2.session.internal.", "us-west-2.session.internal. 60 IN AAAA fd00:2::4", "ADDITIONAL: 4"}, "warning"},
		{"nothing there", []string{"mars.session.internal"}, []string{"status: NXDOMAIN", "flags: qr aa rd;", "session.internal. 10 IN SOA ns1.session.internal."}, "ANSWER SECTION"},
		{"nothing of that type", []string{"app.session.internal", "AAAA"}, []string{"status: NOERROR", "AUTHORITY: 1", "session.internal. 10 IN SOA"}, "ANSWER SECTION"},
		{"another zone", []string{"example.com"}, []string{"status: REFUSED"}, "aa rd"},
		{"who it is", []string{"version.bind", "CH", "TXT"}, []string{"status: REFUSED"}, "ANSWER SECTION"},
		{"the whole zone, signed", []string{"-y", digKey(key), "session.internal", "AXFR"}, []string{"write.session.internal. 10 IN CNAME", "XFR size:", "TSIG"}, "failed"},
		{"the whole zone, for anybody", []string{"session.internal", "AXFR"}, []string{"Transfer failed"}, "CNAME"},
		{"with a key that nobody knows", []string{"-y", digKey(testKey("other")), "app.session.internal"}, []string{"status: NOTAUTH", "BADKEY"}, "10.1.0.9"},
		{"with another secret", []string{"-y", "hmac-sha256:transfer:bm90IHRoZSBzZWNyZXQgdGhhdCBpdCBpcw==", "app.session.internal"}, []string{"status: NOTAUTH", "BADSIG"}, "10.1.0.9"},
		{"signed", []string{"-y", digKey(key), "app.session.internal"}, []string{"10.1.0.9", "TSIG PSEUDOSECTION"}, "ould"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := dig(t, at, c.args...)
			flat := strings.Join(strings.Fields(out), " ")
			for _, has := range c.has {
				if !strings.Contains(flat, has) {
					t.Errorf("dig %v does not say %q:\n%s", c.args, has, out)
				}
			}
			if strings.Contains(out, c.not) {
				t.Errorf("dig %v says %q:\n%s", c.args, c.not, out)
			}
		})
	}
}

func TestNsupdateIsNotImplemented(t *testing.T) {
	s := start(t, Config{})
	host, port, _ := net.SplitHostPort(s.Addrs()[0].String())
	out := run(t, "server "+host+" "+port+"\nzone session.internal\nupdate add evil.session.internal 10 A 10.6.6.6\nsend\n", "nsupdate")
	if !strings.Contains(out, "NOTIMP") || strings.Contains(s.Zone().String(), "evil") {
		t.Errorf("nsupdate says %q", out)
	}
}

func TestCheckZone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zone")
	if err := os.WriteFile(path, []byte(zone(t, crowd).String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := run(t, "", "named-checkzone", "-i", "local", "session.internal", path); !strings.HasSuffix(strings.TrimSpace(out), "OK") || strings.Contains(out, "warning") {
		t.Errorf("named-checkzone says %s", out)
	}
}

// BIND transfers the zone, hears of each change at once, and goes on when we are gone.
func TestBindAsSecondary(t *testing.T) {
	for name, key := range map[string]*Key{"signed": testKey("transfer"), "not signed": nil} {
		t.Run(name, func(t *testing.T) {
			port := freePort(t)
			s := start(t, Config{Secondaries: []Secondary{{Addr: netip.MustParseAddrPort("127.0.0.1:" + port), Key: key}}})
			keys, with := "", ""
			if key != nil {
				keys, with = keyText(key), ` key "transfer"`
			}
			_, ours, _ := net.SplitHostPort(s.Addrs()[0].String())
			b := newBind(t, port, keys+`zone "session.internal" { type secondary; file "zone"; primaries { 127.0.0.1 port `+ours+with+`; }; };`, map[string]string{})
			b.eventually("BIND has the zone", func() bool { return b.short("write.session.internal", "CNAME") == "master.usw1.cache.example." })
			v := large()
			for i, writer := range []string{"us-west-2", "us-west-1", "us-west-2"} {
				v.Epoch, v.Writer = uint64(8+i), writer
				if err := s.Update(v); err != nil {
					t.Fatal(err)
				}
				serial := fmt.Sprint(s.Zone().Serial)
				began := time.Now()
				b.eventually("BIND has heard of serial "+serial, func() bool { return strings.Contains(b.short("session.internal", "SOA"), serial) })
				t.Logf("serial %s after %v", serial, time.Since(began).Round(time.Millisecond))
			}
			if got := b.short("write.session.internal", "A"); !strings.HasPrefix(got, "us-west-2.session.internal.\n") || !strings.Contains(got, "\n10.2.0.4") || !strings.Contains(got, "\n10.2.0.5") {
				t.Errorf("BIND says that the writer is at %q", got)
			}
			if got := b.short("name-1499.session.internal", "A"); got != "10.7.0.1" {
				t.Errorf("BIND says that the last name is at %q", got)
			}
			if st := s.Stats(); st.Notified == 0 || st.Transfers < 2 || st.TransfersRefused > 0 || st.BadSignatures > 0 {
				t.Errorf("Stats = %+v", st)
			}
			if err := s.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := b.short("app.session.internal", "A"); got != "10.1.0.9" {
				t.Errorf("without us BIND says %q", got)
			}
		})
	}
}

// primary starts a BIND that takes updates of our name with a key.
func primary(t *testing.T, key *Key, more string) *bind {
	t.Helper()
	return newBind(t, freePort(t), keyText(key)+`
zone "corp.example" {
	type primary; file "zone"; update-policy {
		grant roam name write.corp.example. CNAME; grant roam name _roam.write.corp.example. TXT;
	};
};`, map[string]string{"zone": "$TTL 60\n@ SOA ns admin 1 60 10 3600 10\n@ NS ns\nns A 127.0.0.1\n" + more})
}

func TestPublishToBind(t *testing.T) {
	key := testKey("roam")
	b := primary(t, key, "")
	p, err := NewPublisher(b.addr(), foreignZone, published, PublisherConfig{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	publish := func(epoch uint64, target string, want error) {
		t.Helper()
		if err := p.Publish(t.Context(), Publication{epoch, target}); want == nil && err != nil || want != nil && !errors.Is(err, want) {
			t.Errorf("Publish of epoch %d = %v, want %v", epoch, err, want)
		}
	}
	is := func(want string) {
		t.Helper()
		if got := b.short("write.corp.example", "CNAME"); got != want {
			t.Errorf("dig says %q, want %q", got, want)
		}
	}
	publish(7, "east.example", nil)
	is("east.example.")
	if got := b.short("_roam.write.corp.example", "TXT"); got != `"roam1" "7" "east.example."` {
		t.Errorf("the mark is %s", got)
	}
	if out := dig(t, b.addr(), "write.corp.example", "CNAME"); !strings.Contains(strings.Join(strings.Fields(out), " "), "write.corp.example. 10 IN CNAME east.example.") {
		t.Errorf("dig says %s", out)
	}
	publish(8, "west.example", nil)
	publish(8, "west.example", nil)
	is("west.example.")
	publish(7, "east.example", ErrStale)
	stranger, err := NewPublisher(b.addr(), foreignZone, published, PublisherConfig{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	if err := stranger.Publish(t.Context(), Publication{7, "east.example"}); !errors.Is(err, ErrStale) {
		t.Errorf("a stale view elsewhere: %v, want ErrStale", err)
	}
	is("west.example.")
	b.nsupdate(key, "update delete write.corp.example CNAME")
	is("")
	publish(8, "west.example", nil)
	is("west.example.")
	if st := p.Stats(); st.Published != 3 || st.Same != 1 || st.Stale != 1 || st.Failed != 0 {
		t.Errorf("Stats = %+v", st)
	}
}

// nsupdate changes something as whoever looks after the server would.
func (b *bind) nsupdate(key *Key, what string) {
	b.t.Helper()
	if out := run(b.t, "server 127.0.0.1 "+b.port+"\nzone corp.example\n"+what+"\nsend\n", "nsupdate", "-y", digKey(key)); out != "" {
		b.t.Fatalf("nsupdate says %s", out)
	}
}

func TestBindRefuses(t *testing.T) {
	key := testKey("roam")
	b := primary(t, key, "taken A 10.0.0.1\nwrite A 10.0.0.1\n")
	forged := *key
	forged.Secret = []byte("some other secret")
	for _, c := range []struct {
		name, zone, host string
		key              *Key
		want             error
	}{
		{"another secret", foreignZone, published, &forged, ErrRefused},
		{"a key that it does not have", foreignZone, published, testKey("other"), ErrRefused},
		{"no key", foreignZone, published, nil, ErrRefused},
		{"a name that the key may not change", foreignZone, "elsewhere.corp.example.", key, ErrRefused},
		{"a zone that it does not have", "example.net.", "write.example.net.", key, ErrRefused},
		{"a name with an address", foreignZone, published, key, ErrOccupied},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := NewPublisher(b.addr(), c.zone, c.host, PublisherConfig{Key: c.key, Tries: 2})
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Publish(t.Context(), Publication{7, "east.example"}); !errors.Is(err, c.want) {
				t.Errorf("Publish = %v, want %v", err, c.want)
			}
		})
	}
	if got := b.short("write.corp.example", "A"); got != "10.0.0.1" {
		t.Errorf("the name is at %q", got)
	}
}

// numbered is a target that tells its epoch.
func numbered(epoch uint64) string { return fmt.Sprintf("writer-%d.example.", epoch) }

// Many Publishers have views of any age. While they publish, the name only goes on.
func TestPublishersRaceAtBind(t *testing.T) {
	key := testKey("roam")
	b := primary(t, key, "")
	const publishers, epochs = 4, 24
	done := make(chan error, publishers)
	for n := range publishers {
		go func() {
			p, err := NewPublisher(b.addr(), foreignZone, published, PublisherConfig{Key: key, Tries: 50, BackoffMin: 5 * time.Millisecond, BackoffMax: 50 * time.Millisecond})
			for i := 1; i <= epochs && err == nil; i++ {
				e := uint64(1 + (i*7+n*5)%epochs) // each in an order of its own
				if i == epochs {
					e = epochs
				}
				if err = p.Publish(t.Context(), Publication{e, numbered(e)}); errors.Is(err, ErrStale) {
					err = nil
				}
			}
			done <- err
		}()
	}
	highest, looks := 0, 0
	for ended := 0; ended < publishers; {
		select {
		case err := <-done:
			if ended++; err != nil {
				t.Error(err)
			}
		default:
		}
		r, err := wire.Exchange(question(published, wire.TypeCNAME), b.addr())
		if err != nil || len(r.Answer) == 0 {
			continue
		}
		is := 0
		if _, err := fmt.Sscanf(r.Answer[0].(*wire.CNAME).Target, "writer-%d.", &is); err != nil || is < highest {
			t.Fatalf("the name went from epoch %d to %v, %v", highest, r.Answer, err)
		}
		highest = is
		looks++
	}
	if got := b.short("write.corp.example", "CNAME"); got != numbered(epochs) {
		t.Errorf("at the end the name leads to %s", got)
	}
	t.Logf("looked %d times", looks)
}

// A server that is away for a while gets what is newest when it is back.
func TestBindComesBack(t *testing.T) {
	key := testKey("roam")
	b := primary(t, key, "")
	p, err := NewPublisher(b.addr(), foreignZone, published, PublisherConfig{Key: key, BackoffMax: 300 * time.Millisecond, Tries: 100})
	if err != nil {
		t.Fatal(err)
	}
	var epoch atomic.Uint64
	epoch.Store(1)
	changed := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.Keep(ctx, func() (Publication, bool) { e := epoch.Load(); return Publication{e, numbered(e)}, true }, changed)
	}()
	b.eventually("epoch 1 is published", func() bool { return b.short("write.corp.example", "CNAME") == numbered(1) })
	b.kill()
	epoch.Store(2)
	changed <- struct{}{}
	b.eventually("the Publisher has tried", func() bool { return p.Stats().Tries > 3 })
	epoch.Store(3)
	changed <- struct{}{}
	b.start()
	b.eventually("epoch 3 is published", func() bool { return b.short("write.corp.example", "CNAME") == numbered(3) })
	cancel()
	<-done
}
