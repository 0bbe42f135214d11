package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/internal/control"
	"github.com/roam-sessions/roam/internal/dns"
	"github.com/roam-sessions/roam/internal/dns/arc"
	"github.com/roam-sessions/roam/internal/dns/route53"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/topology"
)

// A post is a keeper that notes what it is to say.
type post struct {
	mu    sync.Mutex // guards what follows
	calls []string
}

func (p *post) Keep(ctx context.Context, latest func() (dns.Publication, bool), changed <-chan struct{}) {
	for {
		if w, ok := latest(); ok {
			p.mu.Lock()
			p.calls = append(p.calls, fmt.Sprint(w.Epoch, " ", w.Target))
			p.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

func (*post) Stats() dns.PublisherStats { return dns.PublisherStats{} }

func (p *post) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.calls, ", ")
}

// A realm is what a member knows, as a test says it.
type realm struct {
	mu     sync.Mutex // guards what follows
	status control.Status
	stale  bool // the member has ended
	notes  []ledger.Event
	deaf   bool // nobody agrees on anything
}

func (r *realm) set(f func(s *control.Status)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.status)
}

func (r *realm) knows() (control.Status, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.status
	if !r.stale {
		s.At = time.Now()
	}
	return s, true
}

func (r *realm) note(_ context.Context, e ledger.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.deaf {
		return errors.New("no majority")
	}
	r.notes = append(r.notes, e)
	return nil
}

func (r *realm) told() (out []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.notes {
		out = append(out, fmt.Sprintf("%s %d %s", e.Region, e.Epoch, e.Text))
	}
	return out
}

// posted runs the signposts of west: one that whoever holds the lease keeps, and one of all.
func posted(t *testing.T) (r *realm, n *signposts, own, all *post) {
	t.Helper()
	r, own, all = &realm{}, &post{}, &post{}
	targets := map[string]string{"west": "w.example", "east": "e.example"}
	n = &signposts{self: "west", views: newViews("shop"), status: r.knows, note: r.note, all: []*signpost{
		{kind: topology.Route53, name: "write.x at Route 53", targets: targets, keeper: own},
		{kind: topology.RFC2136, name: "write.y at ns:53", targets: targets, keeper: all, every: true},
	}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); n.run(ctx, func(string, ...any) {}) }()
	t.Cleanup(func() { cancel(); <-done })
	return r, n, own, all
}

func holds(region string, epoch, here uint64) func(*control.Status) {
	return func(s *control.Status) {
		s.State.Lease, s.Holds = ledger.Lease{Holder: region, Epoch: epoch}, here
	}
}

// Only the Region that holds the lease, and whose server may take writes by it, says so at
// AWS; a name at a server of RFC 2136 is everybody's.
func TestWhoPublishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, n, own, all := posted(t)
		step := func(what, want string, change func(*control.Status)) {
			t.Helper()
			r.set(change)
			time.Sleep(roleEvery)
			synctest.Wait()
			if got := own.said(); got != want {
				t.Errorf("%s: it was to say %q, want %q", what, got, want)
			}
		}
		step("nobody holds a lease", "", func(*control.Status) {})
		step("it is granted, and the server has not got it yet", "", holds("west", 7, 0))
		step("the server has it", "7 w.example", holds("west", 7, 7))
		step("it is deposed", "7 w.example", func(s *control.Status) { s.State.Lease.Deposed = true })
		if err := n.guard(t.Context(), dns.Publication{Epoch: 7}); !errors.Is(err, route53.ErrNotPrimary) {
			t.Errorf("deposed: guard = %v", err)
		}
		step("another Region has the next", "7 w.example", holds("east", 8, 0))
		step("it comes back", "7 w.example, 9 w.example", holds("west", 9, 9))
		if err := n.guard(t.Context(), dns.Publication{Epoch: 9}); err != nil {
			t.Errorf("guard of the epoch that it holds = %v", err)
		}
		if err := n.guard(t.Context(), dns.Publication{Epoch: 7}); !errors.Is(err, route53.ErrNotPrimary) {
			t.Errorf("guard of an epoch that is over = %v", err)
		}
		step("it holds what it was not granted", "7 w.example, 9 w.example", holds("east", 10, 9))
		step("once more", "7 w.example, 9 w.example, 11 w.example", holds("west", 11, 11))
		step("the next epoch is its own too", "7 w.example, 9 w.example, 11 w.example, 12 w.example", holds("west", 12, 12))
		r.mu.Lock()
		r.stale, r.status.At = true, time.Now()
		r.mu.Unlock()
		time.Sleep(roleAge + time.Millisecond)
		if err := n.guard(t.Context(), dns.Publication{Epoch: 12}); !errors.Is(err, route53.ErrNotPrimary) {
			t.Errorf("guard by a member that has ended = %v", err)
		}
		if _, known := n.role(); known {
			t.Error("the role is known by a member that has ended")
		}
		n.views.take(ledger.State{Seq: 1, Setup: ledger.Setup{Version: 1}, Lease: ledger.Lease{Holder: "east", Epoch: 13}}, true)
		synctest.Wait()
		if got := all.said(); got != "13 e.example" {
			t.Errorf("a name that every node keeps was to say %q, want %q", got, "13 e.example")
		}
	})
}

// How each fares is told to members, and what somebody has to do about it.
func TestFares(t *testing.T) {
	for _, c := range []struct {
		err   error
		again bool
		state string
		next  string
	}{
		{nil, false, published, ""},
		{errors.New("connection refused"), true, pending, "wait"},
		{errors.New("connection refused"), false, pending, "tried again within a minute"},
		{fmt.Errorf("change C1: %w", route53.ErrPending), false, pending, "Route 53 took it"},
		{fmt.Errorf("x: %w", dns.ErrOccupied), false, refused, "what is not Roam's"},
		{fmt.Errorf("x: %w", dns.ErrStale), false, refused, "delete the text record"},
		{fmt.Errorf("x: %w", dns.ErrRefused), false, refused, "the policy"},
		{fmt.Errorf("x: %w", arc.ErrConflict), false, refused, "no rule is ever overridden"},
		{errors.New(strings.Repeat("x", 1000)), false, pending, "tried again"},
	} {
		f := fareOfError(topology.Route53, c.err, c.again)
		if f.state != c.state || !strings.Contains(f.next, c.next) || (c.err == nil) != (f.why == "") || len(f.why) > mostWhy+len("…") {
			t.Errorf("%v: %+v, want %s and %q", c.err, f, c.state, c.next)
		}
		if f.state == refused && f.next == "" {
			t.Errorf("%v: nobody is told what to do", c.err)
		}
	}
}

// While it is this Region's, an event tells once that it is published, refused, or pending for
// long; what nobody could agree on is told later, and nothing twice after a restart.
func TestEventsOfNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, n, _, _ := posted(t)
		k := n.all[0]
		expect := func(what string, want ...string) {
			t.Helper()
			time.Sleep(noteEvery + 2*time.Second)
			if got := r.told(); strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("%s: told\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
		seven, nine := dns.Publication{Epoch: 7, Target: "w.example"}, dns.Publication{Epoch: 9, Target: "w.example"}
		k.heard(dns.Report{Publication: seven})
		expect("another Region holds the lease")
		r.set(holds("west", 7, 7))
		r.mu.Lock()
		r.deaf = true
		r.mu.Unlock()
		expect("nobody agrees on anything")
		r.mu.Lock()
		r.deaf = false
		r.mu.Unlock()
		first := "west 7 write.x at Route 53 leads to w.example"
		expect("they do", first)
		k.heard(dns.Report{Publication: seven, Err: errors.New("no route"), Again: true})
		expect("it is pending for a moment", first)
		k.heard(dns.Report{Publication: seven, Err: errors.New("no route")})
		time.Sleep(pendingLong)
		second := "west 7 write.x at Route 53 is pending: no route. What to do: " + waitLonger
		expect("for long", first, second)
		k.heard(dns.Report{Publication: seven, Err: fmt.Errorf("x: %w", dns.ErrRefused)})
		third := "west 7 write.x at Route 53 is refused: x: " + dns.ErrRefused.Error() + ". What to do: " + refusedNext(topology.Route53)
		expect("refused", first, second, third)
		r.set(holds("west", 9, 9))
		n.views.take(ledger.State{Seq: 9, Setup: ledger.Setup{Version: 1}, Lease: ledger.Lease{Holder: "west", Epoch: 9}, Events: []ledger.Event{
			{Seq: 9, Kind: ledger.KindNames, Region: "west", Epoch: 9, Text: "write.x at Route 53 leads to w.example"},
		}}, true)
		k.heard(dns.Report{Publication: nine})
		expect("it was told before a restart", first, second, third)
	})
}

// Of what every node keeps the primary's node alone tells.
func TestSecondaryTellsNoEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, n, _, _ := posted(t)
		six := ledger.Lease{Holder: "east", Epoch: 6}
		r.set(func(s *control.Status) { s.State.Lease = six })
		n.views.take(ledger.State{Seq: 1, Setup: ledger.Setup{Version: 1}, Lease: six}, true)
		n.all[1].heard(dns.Report{Publication: dns.Publication{Epoch: 6, Target: "e.example"}})
		time.Sleep(time.Hour)
		if got := r.told(); len(got) != 0 || n.report()[1].State != published {
			t.Errorf("it told %q, and fares %+v", got, n.report()[1])
		}
	})
}

// Who keeps a thing, and how it fares, is what members and health say.
func TestReportOfNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, n, _, _ := posted(t)
		state := func(i int) string { return n.report()[i].State }
		if got := n.report(); len(got) != 2 || got[0].State != idle || got[1].State != idle {
			t.Errorf("nobody holds a lease: %+v", got)
		}
		r.set(holds("west", 7, 7))
		if got := state(0); got != pending {
			t.Errorf("it begins: %s", got)
		}
		n.all[0].heard(dns.Report{Publication: dns.Publication{Epoch: 7, Target: "w.example"}})
		since := n.report()[0].Since
		time.Sleep(time.Hour)
		n.all[0].heard(dns.Report{Publication: dns.Publication{Epoch: 7, Target: "w.example"}})
		if got := n.report()[0]; got.State != published || got.Epoch != 7 || got.Target != "w.example" || !got.Since.Equal(since) {
			t.Errorf("it is published: %+v", got)
		}
		r.set(holds("west", 8, 8))
		if got := state(0); got != pending {
			t.Errorf("what is of an older epoch is %s", got)
		}
		r.set(holds("east", 9, 0))
		if got := state(0); got != idle {
			t.Errorf("another Region has it: %s", got)
		}
	})
}

// What can't be opened does not keep a node from serving.
func TestBrokenSignpost(t *testing.T) {
	t.Setenv("AWS_CONFIG_FILE", t.TempDir()) // a folder is none
	d := topology.Deployment{
		Name: "shop", Regions: []topology.Region{{Name: "west", Endpoint: &topology.Endpoint{Place: topology.Place{Target: "w.example"}}}},
		Control: &topology.Control{DNS: &topology.DNS{Publish: []topology.Publish{{
			Kind: topology.Route53, Name: "write.session.internal", Hosted: &topology.Hosted{ZoneID: "not an ID"},
		}}}},
	}
	n, err := newSignposts(t.Context(), d, "west", Config{}.withDefaults())
	if err != nil {
		t.Fatalf("newSignposts = %v", err)
	}
	n.status = (&realm{}).knows
	if got := n.report(); len(got) != 1 || got[0].State != refused || got[0].Why == "" || got[0].Next == "" {
		t.Errorf("it fares %+v, want that it is refused and why", got)
	}
}
