package console

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quiet is for tests that do not ask what is logged.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// fake is a deployment of three Regions that does as it is told.
type fake struct {
	mu      sync.Mutex // guards what follows
	now     State
	all     []Event
	actions []Action
	refusal error         // of the next Do
	more    chan struct{} // closed and replaced when an event comes
	closed  bool
}

func newFake() *fake {
	f := &fake{more: make(chan struct{})}
	names := []string{"us-west-1", "us-west-2", "eu-central-1"}
	f.now = State{Topology: ActiveActive, ReadAfterWrite: "token", Shop: "http://127.0.0.1:8081/"}
	for i, name := range names {
		f.now.Regions = append(f.now.Regions, Region{
			Name: name, ID: uint8(i + 1), Alive: true, Primary: true, Shop: "http://127.0.0.1:8081/",
			Records: 210, Bytes: 96_000, LogEntries: 1_200, Requests: 5_000, ReadsLocal: 4_970, ReadsRemote: 30, Writes: 1_100,
			WritesPerSecond: 4.2, Rungs: Rungs{Normal: 4_990, Stale: 10}, WriteP50Ms: new(0.4), WriteP99Ms: new(3.1),
		})
		for _, to := range names {
			if to != name {
				perfect := Plane{DelayMs: 30, JitterMs: 5}
				f.now.Links = append(f.now.Links, Link{From: name, To: to, Calls: perfect, Replication: perfect, Connected: true, LagMs: new(31.0), HeardMs: new(120.0), SentEntries: 1_100})
			}
		}
	}
	f.now.Totals = Sum(f.now.Regions)
	return f
}

// newControlled is a fake that has a control plane.
func newControlled() *fake {
	f := newFake()
	f.now.Topology, f.now.Primary = ActivePassive, "us-west-1"
	f.now.Control = &Control{
		Leader: "us-west-2", Epoch: 3, Holder: "us-west-1", Since: "2026-03-14T09:26:53Z", Held: true, LastsMs: 3400,
		Name: "write.session.internal", Left: []string{"us-west-2"},
		Handover: &Handover{From: "us-west-2", To: "us-west-1", Epoch: 3, Step: "done", ArmedMs: new(812.0), BegunMs: new(1003.0), EndedMs: new(1480.0)},
		Names: []Name{
			{Region: "us-west-1", Writer: "us-west-1", TTLMs: 10_000},
			{Region: "us-west-2", Writer: "us-west-1", TTLMs: 10_000},
			{Region: "eu-central-1", Problem: "it is dead"},
		},
		Receipts: []Receipt{
			{Epoch: 2, From: "us-west-2", To: "us-west-1", At: "2026-03-14T09:20:01Z", Open: true, Counts: map[string]uint64{"recovered": 3, "superseded": 1}},
		},
		Notes: []Note{{Seq: 31, At: "2026-03-14T09:26:53Z", Kind: "promoted", Region: "us-west-1", Text: "it takes all writes: a planned switchover"}},
	}
	return f
}

func (f *fake) State() State {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.now
	s.Regions, s.Links = slices.Clone(s.Regions), slices.Clone(s.Links)
	return s
}

func (f *fake) Events(ctx context.Context, after uint64) ([]Event, error) {
	const most = 100
	for {
		f.mu.Lock()
		more, closed := f.more, f.closed
		var got []Event
		for _, e := range f.all {
			if e.Seq > after && len(got) < most {
				got = append(got, e)
			}
		}
		f.mu.Unlock()
		switch {
		case len(got) > 0:
			return got, nil
		case closed:
			return nil, errors.New("the deployment has ended")
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (f *fake) Do(_ context.Context, a Action) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.refusal; err != nil {
		f.refusal = nil
		return err
	}
	f.actions = append(f.actions, a)
	for i := range f.now.Links {
		l := &f.now.Links[i]
		if a.Kind == ActLink && l.From == a.From && l.To == a.To {
			change(&l.Calls, a, PlaneCalls)
			change(&l.Replication, a, PlaneReplication)
		}
	}
	for i := range f.now.Regions {
		if r := &f.now.Regions[i]; a.Kind == ActRegion && r.Name == a.Region {
			r.Alive = *a.Alive
		}
	}
	if c := f.now.Control; c != nil && a.Kind == ActSwitchover {
		now := *c
		now.Handover = &Handover{From: c.Holder, To: a.Region, Epoch: c.Epoch + 1, Step: "arming"}
		f.now.Control = &now
	}
	if c := f.now.Control; c != nil && a.Kind == ActReadmit {
		now := *c
		now.Left = slices.DeleteFunc(slices.Clone(c.Left), func(name string) bool { return name == a.Region })
		f.now.Control = &now
	}
	if a.Kind == ActTopology {
		f.now.Topology = a.Topology
	}
	return nil
}

func change(p *Plane, a Action, plane string) {
	if a.Plane != PlaneAll && a.Plane != plane {
		return
	}
	if a.Cut != nil {
		p.Cut = *a.Cut
	}
	if a.DelayMs != nil {
		p.DelayMs = float64(*a.DelayMs)
	}
	if a.Loss != nil {
		p.Loss = *a.Loss
	}
	p.Changed = true
}

// set changes the state.
func (f *fake) set(change func(*State)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.now)
}

// tell adds events of a kind.
func (f *fake) tell(kind string, texts ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, text := range texts {
		f.now.LastEvent++
		f.all = append(f.all, Event{Seq: f.now.LastEvent, At: "2026-03-14T09:26:53Z", Kind: kind, Region: "us-west-2", Text: text})
	}
	close(f.more)
	f.more = make(chan struct{})
}

// end makes Events fail from now on.
func (f *fake) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	close(f.more)
	f.more = make(chan struct{})
}

// done returns the actions so far.
func (f *fake) done() []Action {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.actions)
}
