package deployment

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/feed"
	"github.com/roam-sessions/roam/internal/opener"
	"github.com/roam-sessions/roam/internal/topology"
)

// fenced is an engine whose server looks at the lease.
type fenced interface{ Under(epoch uint64) }

// reconnecting is an engine that can be told that its names may lead elsewhere.
type reconnecting interface {
	Reconnect(ctx context.Context) error
}

// A steering has the parts of a Deployment do what the control plane agreed on. It may be
// used by many goroutines.
type steering struct {
	feed     *feed.Client
	topology topology.Deployment
	here     string
	log      *slog.Logger
	chase    *opener.Chase           // nil: nothing is measured here
	sources  map[string]*opener.Lazy // what a Chase may measure by, by the Region's name
	version  uint64                  // of the topology; start's, and then its goroutine's
	followed string                  // the primary that the Chase is of; start's, and then its goroutine's
	wake     chan struct{}           // some Region's connections are to be made anew; holds one
	work     sync.WaitGroup

	mu      sync.Mutex // guards what follows
	view    feed.View
	engines map[string]engine.Engine // that are open, by the Region's name
	stores  []*roam.Store
	demoted map[string]bool // whose connections are to be made anew
}

func newSteering(f *feed.Client, t topology.Deployment, here string, log *slog.Logger) *steering {
	return &steering{
		feed: f, topology: t, here: here, log: log, sources: map[string]*opener.Lazy{}, wake: make(chan struct{}, 1),
		engines: map[string]engine.Engine{}, demoted: map[string]bool{},
	}
}

// start does what the feed says until ctx ends.
func (s *steering) start(ctx context.Context) {
	s.follow(ctx, feed.View{Primary: s.topology.Primary}, feed.View{})
	s.apply(ctx)
	s.work.Go(func() {
		for ctx.Err() == nil {
			changed := s.feed.Changed()
			s.apply(ctx)
			select {
			case <-ctx.Done():
			case <-changed:
			}
		}
	})
	s.work.Go(func() { s.mend(ctx) })
}

// apply does what the newest View says: engines first, so that whoever is sent to the new
// primary finds it ready.
func (s *steering) apply(ctx context.Context) {
	v, ok := s.feed.Latest()
	if !ok {
		return
	}
	if v.Primary == "" { // of a control plane that has given nobody the lease yet, too
		v.Primary = s.topology.Primary
	}
	if err := s.check(v); err != nil {
		s.log.Warn("what the control plane says is of another roam.yaml: restart with that", "version", v.Version, "err", err)
		return
	}
	if v.Version != s.version {
		s.version = v.Version
		s.log.Warn("roam.yaml has been changed: what is new in it counts after a restart", "version", v.Version)
	}
	was, changed := s.take(v)
	if !changed {
		return
	}
	s.follow(ctx, v, was)
	if was.Primary != v.Primary && was.Primary != "" {
		s.log.Info("another Region takes the writes", "primary", v.Primary, "epoch", v.Epoch)
	}
	select {
	case s.wake <- struct{}{}:
	default: // it is awake
	}
}

// check reports what a View has that the file does not know.
func (s *steering) check(v feed.View) error {
	var faults []error
	for _, name := range []string{v.Primary, v.Next} {
		if _, ok := s.topology.Region(name); name != "" && !ok {
			faults = append(faults, fmt.Errorf("%w: %q", ErrRegion, name))
		}
	}
	if s.topology.Primary == "" && v.Primary != "" {
		faults = append(faults, fmt.Errorf("primary %q: by the file every Region writes", v.Primary))
	}
	return errors.Join(faults...)
}

// take has engines and stores know of a View, and returns the one before; not changed: it
// is the one there was.
func (s *steering) take(v feed.View) (was feed.View, changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was = s.view
	if was.Deployment != "" && !v.Newer(was) {
		return was, false
	}
	if was.Primary != "" && was.Primary != v.Primary {
		s.demoted[was.Primary] = true
		delete(s.demoted, v.Primary)
	}
	s.view = v
	for name, e := range s.engines {
		under(e, epochOf(v, name))
	}
	for _, store := range s.stores {
		s.tell(store)
	}
	return was, true
}

// epochOf returns the epoch that a Region's server must hold the lease of. That of the
// switchover's target is known before its server has it, so that nothing has to get here
// in the moment in which nobody takes writes.
func epochOf(v feed.View, region string) uint64 {
	if region == v.Next && region != "" {
		return v.NextEpoch
	}
	return v.Epoch
}

func under(e engine.Engine, epoch uint64) {
	if f, ok := engine.As[fenced](e); ok {
		f.Under(epoch)
	}
}

// enter notes an engine that has been opened.
func (s *steering) enter(region string, e engine.Engine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.engines[region] = e
	under(e, epochOf(s.view, region))
}

// report tells nodes what the stores have counted, until ctx ends.
func (s *steering) report(ctx context.Context) {
	s.work.Go(func() { s.feed.Report(ctx, s.here, s.counts) })
}

// counts returns what all stores have counted since they were opened.
func (s *steering) counts() (sum roam.Counts) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, store := range s.stores {
		sum = sum.Plus(store.Counts())
	}
	return sum
}

// attach has a store told of what changes, and of what there is.
func (s *steering) attach(store *roam.Store) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stores = append(s.stores, store)
	s.tell(store)
}

// tell tells a store what there is. It is called under mu, so that no store hears of two
// Views in the wrong order.
func (s *steering) tell(store *roam.Store) {
	if s.view.Primary == "" {
		return
	}
	if err := store.SetPrimary(s.id(s.view.Primary), s.id(s.view.Next)); err != nil {
		s.log.Error("a store was not told of the primary: it is not of this deployment", "err", err)
	}
}

// primary returns the Region that takes all writes; zero: the file says which.
func (s *steering) primary() crdt.Region {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id(s.view.Primary)
}

// id returns the number of a Region; zero for none.
func (s *steering) id(name string) crdt.Region {
	r, _ := s.topology.Region(name)
	return r.ID
}

// follow has the age of what is here measured by the primary there is.
func (s *steering) follow(ctx context.Context, v, was feed.View) {
	if s.chase == nil || v.Primary == s.followed {
		return
	}
	s.followed = v.Primary
	if v.Primary == s.here {
		s.chase.Own()
		return
	}
	planned := was.Next == v.Primary && was.NextEpoch == v.Epoch && was.Primary != s.here
	s.chase.To(ctx, s.sources[v.Primary], planned)
}

const (
	// reconnectTimeout bounds one try to connect anew to a Region.
	reconnectTimeout = 2 * time.Second
	// reconnectLeast and reconnectMost bound the wait before the next try; it doubles.
	reconnectLeast = 200 * time.Millisecond
	reconnectMost  = 5 * time.Second
)

// mend makes connections anew to Regions that were the primary, until ctx ends. Each try
// is at all of them at once: one that is away holds up none.
func (s *steering) mend(ctx context.Context) {
	wait := reconnectLeast
	for {
		var again <-chan time.Time
		if s.reconnect(ctx) {
			wait = reconnectLeast
		} else {
			again = time.After(wait/2 + rand.N(wait/2)) //nolint:gosec // spreads tries, guards nothing
			wait = min(2*wait, reconnectMost)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-again:
		}
	}
}

// reconnect tries once, and reports whether no more tries are needed.
func (s *steering) reconnect(ctx context.Context) bool {
	s.mu.Lock()
	todo := map[string]engine.Engine{}
	for name := range s.demoted {
		if e := s.engines[name]; e != nil {
			todo[name] = e
		}
		delete(s.demoted, name) // what is opened later connects then
	}
	s.mu.Unlock()
	var all sync.WaitGroup
	for name, e := range todo {
		r, ok := engine.As[reconnecting](e)
		if !ok {
			continue
		}
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, reconnectTimeout)
			defer cancel()
			if err := r.Reconnect(ctx); err != nil && !errors.Is(err, engine.ErrClosed) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.demoted[name] = s.view.Primary != name
			}
		})
	}
	all.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, needed := range s.demoted {
		if !needed { // it is the primary again, with the connections that it has
			delete(s.demoted, name)
		}
	}
	return len(s.demoted) == 0
}

// close returns when the last goroutine is gone. Its context has ended before.
func (s *steering) close() error {
	s.work.Wait()
	if s.chase != nil {
		return s.chase.Close()
	}
	return nil
}
