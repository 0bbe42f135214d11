package route53

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/internal/awstest"
	"github.com/roam-sessions/roam/internal/dns"
)

// heard is what a Publisher told.
type heard struct {
	mu  sync.Mutex // guards what follows
	all []dns.Report
}

func (h *heard) tell(r dns.Report) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, r)
}

func (h *heard) reports() []dns.Report {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.all)
}

// kept runs Keep in the background and returns what changes what is to be published.
func kept(t *testing.T, p *Publisher, world *awstest.World) (set func(dns.Publication)) {
	t.Helper()
	var w dns.Publication
	changed := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.Keep(ctx, func() (out dns.Publication, ok bool) {
			world.Lock(func() { out = w })
			return out, out.Epoch > 0
		}, changed)
	}()
	t.Cleanup(func() { cancel(); <-done })
	synctest.Wait() // it waits for news
	return func(next dns.Publication) {
		world.Lock(func() { w = next })
		changed <- struct{}{}
	}
}

// Whoever lost the lease while a throttle lasted changes nothing any more.
func TestKeepAsksTheGuardBeforeEachBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := &awstest.World{Route53: awstest.Route53{Records: []awstest.RecordSet{set("CNAME " + west), marks("6", west)}}}
		var h heard
		changes := 0
		world.Fate = func(c awstest.Call) awstest.Fate {
			if c.Action == "ChangeResourceRecordSets" {
				changes++
			}
			return code(c.Action == "ChangeResourceRecordSets" && changes == 1, "Throttling")
		}
		asked := 0
		p := publisher(t, world, Config{Tell: h.tell, Guard: func(_ context.Context, w dns.Publication) error {
			if asked++; asked == 2 || w.Epoch != 7 {
				return ErrNotPrimary
			}
			return nil
		}})
		publish := kept(t, p, world)
		publish(dns.Publication{Epoch: 7, Target: east})
		time.Sleep(30 * time.Second)
		synctest.Wait()
		got := h.reports()
		if changes != 1 || len(world.Route53.Batches) != 0 || len(got) != 2 || !got[0].Again || !errors.Is(got[1].Err, ErrNotPrimary) || got[1].Again {
			t.Errorf("%d changes, %d batches, told %+v; want one change that is throttled, and then none", changes, len(world.Route53.Batches), got)
		}
	})
}

func TestKeepTells(t *testing.T) {
	for _, c := range []struct {
		name  string
		fate  func(n int) awstest.Fate // of the n-th change
		err   error
		again []bool
	}{
		{"all is well", func(int) awstest.Fate { return awstest.Fate{} }, nil, []bool{false}},
		{"a throttle", func(n int) awstest.Fate { return code(n < 3, "Throttling") }, nil, []bool{true, true, false}},
		{"a batch before ours", func(n int) awstest.Fate { return code(n < 2, "PriorRequestNotComplete") }, nil, []bool{true, false}},
		{"no right", func(int) awstest.Fate { return code(true, "AccessDenied") }, dns.ErrRefused, []bool{false}},
		{"its control plane is away", func(int) awstest.Fate { return awstest.Fate{Lost: true} }, errAny, []bool{true, true, true, true, true, false}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				world := &awstest.World{}
				n := 0
				world.Fate = func(call awstest.Call) awstest.Fate {
					if call.Action != "ChangeResourceRecordSets" {
						return awstest.Fate{}
					}
					n++
					return c.fate(n)
				}
				var h heard
				p := publisher(t, world, Config{Tell: h.tell, Every: time.Hour})
				kept(t, p, world)(dns.Publication{Epoch: 7, Target: east})
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				var again []bool
				var last error
				for _, r := range h.reports() {
					again, last = append(again, r.Again), r.Err
					if r.Epoch != 7 || r.Target != east {
						t.Errorf("told of %+v", r.Publication)
					}
				}
				if !slices.Equal(again, c.again) || !like(last, c.err) {
					t.Errorf("told %v and at last %v, want %v and %v", again, last, c.again, c.err)
				}
			})
		})
	}
}

// A failover does not wait until all servers know what it makes void; and what is merely told
// again is not taken for done.
func TestNewerEndsTheWaitForSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := &awstest.World{Route53: awstest.Route53{Sync: 70 * time.Second}}
		var h heard
		p := publisher(t, world, Config{Tell: h.tell, Every: time.Hour})
		publish := kept(t, p, world)
		seven, nine := dns.Publication{Epoch: 7, Target: east}, dns.Publication{Epoch: 9, Target: west}
		publish(seven)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		publish(seven)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if got := h.reports(); len(got) != 0 || len(world.Route53.Batches) != 1 {
			t.Fatalf("after 25 s of 70 it told %+v after %d batches, want nothing after one", got, len(world.Route53.Batches))
		}
		publish(nine)
		time.Sleep(time.Second)
		synctest.Wait()
		if len(world.Route53.Batches) != 2 {
			t.Errorf("a second after there was something newer there are %d batches, want 2", len(world.Route53.Batches))
		}
		time.Sleep(80 * time.Second)
		synctest.Wait()
		if got := h.reports(); len(got) != 1 || got[0] != (dns.Report{Publication: nine}) {
			t.Errorf("told %+v, want that epoch 9 is published", got)
		}
	})
}

func TestMarked(t *testing.T) {
	for _, c := range []struct {
		name   string
		has    []awstest.RecordSet
		marked bool
		w      dns.Publication
		target string
		err    error
	}{
		{"nothing", nil, false, dns.Publication{}, "", nil},
		{"by hand", []awstest.RecordSet{set("CNAME " + west)}, false, dns.Publication{}, west, nil},
		{"ours", []awstest.RecordSet{set("CNAME " + west), marks("6", west)}, true, dns.Publication{Epoch: 6, Target: west + "."}, west, nil},
		{"somebody else's", []awstest.RecordSet{set("A 10.0.0.1")}, false, dns.Publication{}, "", dns.ErrOccupied},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				world := &awstest.World{Route53: awstest.Route53{Records: c.has}}
				is, w, marked, err := publisher(t, world, Config{}).Marked(t.Context())
				target := ""
				if len(is) > 0 {
					target = is[0].Target
				}
				if !errors.Is(err, c.err) || err == nil && (marked != c.marked || w != c.w || target != c.target) || len(world.Route53.Batches) > 0 {
					t.Errorf("Marked = %v, %+v, %v, %v", is, w, marked, err)
				}
			})
		})
	}
}
