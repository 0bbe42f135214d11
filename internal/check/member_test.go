package check

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/admin"
	"github.com/roam-sessions/roam/internal/control"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/pki"
	"github.com/roam-sessions/roam/internal/steer"
	"github.com/roam-sessions/roam/internal/topology"
)

// A fakeMember knows what it is told to, and agrees to nothing.
type fakeMember struct{ status control.Status }

func (m fakeMember) State() (ledger.State, <-chan struct{}) { return m.status.State, nil }

func (m fakeMember) Status() control.Status { return m.status }

func (fakeMember) Propose(context.Context, ledger.Command) (ledger.State, error) {
	return ledger.State{}, errors.New("nobody should propose anything")
}

func (fakeMember) Precheck(context.Context, string, bool) ([]steer.Check, error) {
	return nil, control.ErrNotLeader
}

func (fakeMember) Behind(context.Context, string) (time.Duration, bool, error) {
	return 0, false, control.ErrNotLeader
}

// A board is three members, west, east and eyes, whose admin APIs are served in this
// process: with certificates, and a token of a viewer.
type board struct {
	*testing.T
	d   topology.Deployment
	dir string
}

const viewerToken = "viewer-0123456789abcdef"

// newBoard writes the file, with an address for each member.
func newBoard(t *testing.T) *board {
	t.Helper()
	b := &board{T: t, dir: t.TempDir()}
	var members []pki.Member
	text := "version: 1\nname: shop\ntopology: active-active\nregions:\n"
	for i, name := range []string{"west", "east"} {
		text += fmt.Sprintf("  - {name: %s, id: %d, engine: {memory: {}}, node: {links: %q, http: %q, control: %q, api: %q}}\n",
			name, i+1, freeAddr(t), freeAddr(t), freeAddr(t), freeAddr(t))
		members = append(members, pki.Member{Region: name, Hosts: []string{"127.0.0.1"}})
	}
	members = append(members, pki.Member{Region: "eyes", Hosts: []string{"127.0.0.1"}})
	text += fmt.Sprintf("links: {tls: {ca: ca.pem, cert: \"{region}.pem\", key: \"{region}.key\"}}\n"+
		"control: {witnesses: [{name: eyes, id: 16, control: %q, api: %q}], tokens: [{name: wall, role: viewer, sha256_env: X}]}\n", freeAddr(t), freeAddr(t))
	d, err := topology.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if _, err := pki.Init(b.dir, members, false, time.Now()); err != nil {
		t.Fatal(err)
	}
	b.d = d.Under(b.dir)
	return b
}

// serve serves the admin API of a member with the certificate of one, until the test ends.
func (b *board) serve(name, certificate string) {
	b.Helper()
	status := control.Status{Self: name, Leader: "west", State: ledger.State{
		Index: 9, Setup: ledger.Setup{Version: 1, File: b.d.Text, Regions: b.d.Names()},
	}}
	var at topology.Member
	for _, m := range b.d.Voters() {
		seen := control.Seen{Member: m.Name, ID: m.ID, Witness: m.Witness, Heard: time.Now(), Version: "v1"}
		for _, other := range b.d.Voters() {
			if other.Name != m.Name {
				seen.Hears = append(seen.Hears, other.Name)
			}
		}
		status.Members = append(status.Members, seen)
		if m.Name == name {
			at = m
		}
	}
	h, err := admin.New(fakeMember{status}, fakeMember{status}, admin.Config{
		Deployment: "shop", Setup: func([]byte) (ledger.Setup, error) { return ledger.Setup{}, errors.ErrUnsupported },
		Tokens:  []admin.Token{{Name: "wall", Role: admin.Viewer, SHA256: sha256.Sum256([]byte(viewerToken))}},
		Members: map[string]string{"west": "https://w", "east": "https://e", "eyes": "https://x"},
	})
	if err != nil {
		b.Fatal(err)
	}
	keeper, err := pki.Keep(pki.Files(b.d.Links.TLS.For(certificate)), certificate, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(b.Context(), "tcp", at.API)
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(tls.NewListener(l, keeper.API())) // until it is closed
	}()
	b.Cleanup(func() {
		_ = server.Close() // never fails
		<-done
	})
}

func (b *board) ask(here, token string) []Row {
	b.Helper()
	return Run(b.Context(), b.d, Options{Here: here, Token: token, Getenv: func(string) string { return "" }, Now: time.Now()})
}

// wantHas wants a row for each.
func (b *board) wantHas(what string, rows []Row, want ...Row) {
	b.Helper()
	for _, w := range want {
		if !has(rows, w.State, w.Region, controlPart, w.Seen) {
			b.Errorf("%s: %+v; want %s of %q that says %q", what, rows, w.State, w.Region, w.Seen)
		}
	}
}

// Members are asked with the certificate of the Region that this machine is in, and are
// who they should be; one that does not answer holds up no other.
func TestMembersAreAsked(t *testing.T) {
	t.Parallel() // it mostly waits
	b := newBoard(t)
	b.serve("west", "west")
	b.serve("east", "east")
	b.wantHas("with a certificate", b.ask("west", ""),
		Row{State: Good, Region: "west", Seen: "it answers, and hears east and eyes"},
		Row{State: Good, Region: "east", Seen: "it answers, and hears west and eyes"},
		Row{State: Fault, Region: "eyes", Seen: "connection refused"},
		Row{State: Good, Seen: "3 of 3 members take part"}, // others hear it
		Row{State: Good, Seen: "west leads"},
		Row{State: Good, Seen: "this file is version 1"},
		Row{State: Good, Seen: "all members are on one machine"})

	b.serve("eyes", "east")
	b.wantHas("the certificate of another", b.ask("west", ""), Row{State: Fault, Region: "eyes", Seen: "certificate is not of that Region"})
	b.wantHas("the certificate of another, and a token", b.ask("", viewerToken), Row{State: Fault, Region: "eyes", Seen: "certificate is not of that Region"})
}

// With a token there is as much as it lets see; without one, and without the files, what
// members know is unknown and no fault.
func TestMembersWantAToken(t *testing.T) {
	b := newBoard(t)
	b.serve("west", "west")
	b.serve("east", "east")
	b.serve("eyes", "eyes")
	b.wantHas("a viewer", b.ask("", viewerToken),
		Row{State: Good, Region: "eyes", Seen: "it answers"}, Row{State: Good, Seen: "west leads"},
		Row{State: Unknown, Seen: "whether this file is the one that members go by"})
	person, err := believing(filepath.Join(b.dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	made, err := pki.Issue(pki.Order{Dir: b.dir, Person: pki.Person{Name: "ann", Role: pki.Operator}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(made.Cert, made.Key)
	if err != nil {
		t.Fatal(err)
	}
	person.Certificates = []tls.Certificate{pair}
	rows := Run(t.Context(), b.d, Options{TLS: person, Getenv: func(string) string { return "" }, Now: time.Now()})
	b.wantHas("an operator's certificate", rows, Row{State: Good, Region: "east", Seen: "it answers"}, Row{State: Good, Seen: "this file is version 1"})
	for _, token := range []string{"", "another-0123456789abcdef"} {
		rows := b.ask("", token)
		b.wantHas("nobody", rows, Row{State: Unknown, Region: "west", Seen: "it answers, and tells nothing"}, Row{State: Unknown, Seen: "no member told"})
		if has(rows, Fault, "west", controlPart, "") {
			t.Errorf("who is not let in makes a fault: %+v", rows)
		}
	}
	if err := os.Remove(filepath.Join(b.dir, "west.key")); err != nil {
		t.Fatal(err)
	}
	b.wantHas("no key, and a token", b.ask("west", viewerToken), Row{State: Good, Region: "west", Seen: "it answers"})
	b.wantHas("no key", b.ask("west", ""), Row{State: Unknown, Region: "west", Seen: "it was not asked"})
	if err := os.Remove(filepath.Join(b.dir, "ca.pem")); err != nil {
		t.Fatal(err)
	}
	b.wantHas("no authority", b.ask("", viewerToken), Row{State: Unknown, Region: "west", Seen: "it was not asked"})
}

// A deployment that is open to its own machine knows no token: one that stands in the
// environment for another is not shown to it, which would refuse it.
func TestOpenMembersAreShownNoToken(t *testing.T) {
	shown := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown <- r.Header.Get("Authorization")
		_, _ = w.Write([]byte(`{"self": "west"}`)) // whoever asked reads it
	}))
	t.Cleanup(server.Close)
	l := &looker{d: topology.Deployment{Control: &topology.Control{}}, o: Options{Token: viewerToken}}
	l.member(t.Context(), topology.Member{Name: "west", API: server.Listener.Addr().String(), Control: "127.0.0.1:1"})
	if token := <-shown; token != "" || l.word.status == nil || l.word.status.Self != "west" {
		t.Errorf("an open member was shown %q and told %+v, want nothing and its name", token, l.word.status)
	}
	l.d.Control.Tokens = []topology.Token{{Name: "wall", Role: topology.Viewer}}
	for len(shown) > 0 {
		<-shown
	}
	l.member(t.Context(), topology.Member{Name: "west", API: server.Listener.Addr().String(), Control: "127.0.0.1:1"})
	if token := <-shown; token != "Bearer "+viewerToken {
		t.Errorf("a member that knows tokens was shown %q, want the viewer's", token)
	}
}

// An API on loopback is asked on its own machine alone.
func TestFarMembers(t *testing.T) {
	voters := func(apis, controls [2]string) (d topology.Deployment) {
		d.Control = &topology.Control{}
		for i, name := range []string{"west", "east"} {
			d.Regions = append(d.Regions, topology.Region{Name: name, Node: topology.Node{APIAdvertise: apis[i], ControlAdvertise: controls[i]}})
		}
		return d
	}
	loopback, outside := [2]string{"127.0.0.1:3", "localhost:4"}, [2]string{"10.1.0.1:2", "10.2.0.1:2"}
	for name, c := range map[string]struct {
		here string
		d    topology.Deployment
		want bool // that east is far
	}{
		"a demo":                     {"", voters(loopback, loopback), false},
		"each on its own machine":    {"west", voters(loopback, outside), true},
		"on its own machine":         {"east", voters(loopback, outside), false},
		"one address, two machines":  {"west", voters([2]string{"127.0.0.1:3", "127.0.0.1:3"}, loopback), true},
		"reached from everywhere":    {"west", voters(outside, outside), false},
		"one address, on no machine": {"", voters([2]string{"127.0.0.1:3", "127.0.0.1:3"}, loopback), true},
	} {
		l := &looker{d: c.d, o: Options{Here: c.here}}
		if got := l.far(c.d.Voters()[1]); got != c.want {
			t.Errorf("%s: far = %t, want %t", name, got, c.want)
		}
	}
}

// Each name is looked up once, and what is an address already is not.
func TestNamesAreLookedUp(t *testing.T) {
	asked := make(chan string, 20)
	l := &looker{d: sceneOf(t, strings.Replace(twoAndAWitness, "n.east:7102", "[fe80::1]:7102", 1)).d, o: Options{
		LookUp: func(ctx context.Context, host string) ([]netip.Addr, error) {
			if _, bounded := ctx.Deadline(); !bounded {
				t.Errorf("%s is looked up for ever", host)
			}
			asked <- host
			if host == "eyes" {
				return nil, errors.ErrUnsupported
			}
			return []netip.Addr{netip.MustParseAddr("::ffff:10.0.0.1")}, nil
		},
	}}
	l.hosts(t.Context())
	close(asked)
	got := slices.Sorted(func(yield func(string) bool) {
		for host := range asked {
			_ = yield(host) // all of them are taken
		}
	})
	if want := []string{"db.east", "db.west", "eyes", "n.east", "n.west"}; !slices.Equal(got, want) {
		t.Errorf("asked for %q, want %q", got, want)
	}
	if at := l.leads["db.west"]; at.err != nil || !slices.Equal(at.addrs, []netip.Addr{netip.MustParseAddr("10.0.0.1")}) {
		t.Errorf("db.west leads to %+v, want 10.0.0.1", at)
	}
	if at := l.leads["fe80::1"]; at.err != nil || !slices.Equal(at.addrs, []netip.Addr{netip.MustParseAddr("fe80::1")}) {
		t.Errorf("an address leads to %+v, want itself", at)
	}
	if at := l.leads["eyes"]; at.err == nil {
		t.Errorf("what is not found out leads to %+v, want an error", at)
	}
}
