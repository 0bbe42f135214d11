package awslambda

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/roam-sessions/roam/internal/dns"
	"github.com/roam-sessions/roam/internal/dns/arc"
	"github.com/roam-sessions/roam/internal/dns/route53"
	"github.com/roam-sessions/roam/internal/elasticache"
	"github.com/roam-sessions/roam/internal/pause"
)

// How long each step of a reconciler may take. A function has Timeout; what is left of it after
// all steps is for the report, which must not be cut off.
const (
	// Timeout is what a function is to be given.
	Timeout      = 90 * time.Second
	lookBudget   = 12 * time.Second
	settleBudget = 20 * time.Second // while a failover goes on
	moveBudget   = 45 * time.Second // of which Route 53 may take as long as it may to be in sync
	verifyBudget = 8 * time.Second
	// waitPause is about how long to wait before looking again while a failover goes on.
	waitPause = 3 * time.Second
)

// errUndecided says that a failover goes on. It makes sense to come again.
var errUndecided = errors.New("who is the primary is being decided")

// A Reconciler is the function that follows who is the primary.
type Reconciler struct {
	place     Place
	namespace string
	metric    bool
	cache     elasticache.Client
	drivers   []driver
	out       io.Writer
}

// Handle reconciles if an event says that one should look. It fails only if coming again may
// help: Lambda then tries twice more and tells its OnFailure destination. What people have to
// look at is in the report and its metrics instead.
func (r *Reconciler) Handle(ctx context.Context, event []byte) error {
	report := r.place.report(r.namespace, time.Now())
	wake := ParseEvent(event, r.place.Group, r.place.Global)
	report.tell("hints", wake.Hints)
	report.count("EventForeign", wake.Foreign)
	report.count("EventMalformed", wake.Malformed)
	var err error
	if wake.Look {
		err = r.reconcile(ctx, report)
	}
	if err != nil {
		report.tell("error", err.Error())
	}
	report.count("Failed", yes(err != nil))
	return errors.Join(err, report.write(r.out, time.Now()))
}

func (r *Reconciler) reconcile(ctx context.Context, report *report) error {
	d, err := r.decide(ctx)
	if err == nil && d.Verdict == Wait {
		d, err = r.await(ctx, d)
	}
	if elasticache.Refused(err) {
		d, err = Decision{Verdict: Refuse, Reason: err.Error()}, nil
	}
	if err != nil {
		return err
	}
	report.tell("verdict", d.Verdict)
	report.tell("reason", d.Reason)
	report.count("Refused", yes(d.Verdict == Refuse))
	if err := r.tellRole(d, report); err != nil {
		return err
	}
	switch d.Verdict {
	case Move:
		return r.move(ctx, d, report)
	case Wait:
		return r.undecided(ctx, d)
	case Leave, Refuse:
	}
	return nil
}

// tellRole tells the metric that health checks follow: in a line of its own before anything is
// moved, since they must move while a control plane that something else needs hangs.
func (r *Reconciler) tellRole(d Decision, last *report) error {
	switch {
	case !r.metric || !d.Known:
		return nil
	case d.Verdict != Move || len(r.drivers) == 0:
		last.measure("IsGlobalPrimary", "None", yes(d.Primary))
		return nil
	}
	now := time.Now()
	first := r.place.report(r.namespace, now)
	first.measure("IsGlobalPrimary", "None", yes(d.Primary))
	return first.write(r.out, now)
}

func yes(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (r *Reconciler) decide(ctx context.Context) (Decision, error) {
	ctx, cancel := context.WithTimeout(ctx, lookBudget)
	defer cancel()
	v, err := elasticache.Look(ctx, r.cache, r.place.Group)
	if err != nil {
		return Decision{}, err
	}
	return Decide(v, r.place), nil
}

// await looks again until it is decided, or for as long as it may.
func (r *Reconciler) await(ctx context.Context, d Decision) (Decision, error) {
	limit, cancel := context.WithTimeout(ctx, settleBudget)
	defer cancel()
	for d.Verdict == Wait && pause.About(limit, waitPause) {
		next, err := r.decide(limit)
		if err != nil && limit.Err() != nil {
			break // the last decision stands
		}
		if err != nil {
			return Decision{}, err
		}
		d = next
	}
	return d, nil
}

// undecided is the end of a wait in vain. Where all says already what this Region would have
// said, as when a primary's shards are moved for an hour, nothing is to come again for.
func (r *Reconciler) undecided(ctx context.Context, d Decision) error {
	ctx, cancel := context.WithTimeout(ctx, lookBudget)
	defer cancel()
	for _, driver := range r.drivers {
		if settled, err := driver.settled(ctx, d); err != nil || !settled || !d.Primary {
			return fmt.Errorf("%w: %s", errUndecided, d.Reason)
		}
	}
	return nil
}

// move has all drivers move at once: none is to wait for a control plane that another needs.
// Then it asks once more who is the primary.
func (r *Reconciler) move(ctx context.Context, d Decision, report *report) error {
	limit, cancel := context.WithTimeout(ctx, moveBudget)
	defer cancel()
	changed, errs := make([]bool, len(r.drivers)), make([]error, len(r.drivers))
	var moving sync.WaitGroup
	for i, driver := range r.drivers {
		moving.Go(func() { changed[i], errs[i] = driver.move(limit, d, r.guard) })
	}
	moving.Wait()
	var failed error
	for i, driver := range r.drivers {
		report.count(driver.name()+"Updated", yes(changed[i]))
		report.count(driver.name()+"Noop", yes(!changed[i] && errs[i] == nil))
		if errs[i] == nil {
			continue
		}
		kind, retry := kindOf(errs[i])
		report.count(driver.name()+kind, 1)
		report.tell(driver.name()+"Why", errs[i].Error())
		if retry {
			failed = errors.Join(failed, errs[i])
		}
	}
	if slices.Contains(changed, true) {
		r.verify(ctx, report)
	}
	return failed
}

// kindOf tells what kind of metric an error is, and whether coming again may help. A change that
// is taken and not everywhere yet needs nobody; the schedule sees to a Region that lost its
// role meanwhile, from where the new primary is.
func kindOf(err error) (kind string, retry bool) {
	switch {
	case errors.Is(err, route53.ErrPending) && !errors.Is(err, dns.ErrRefused):
		return "Pending", false
	case errors.Is(err, route53.ErrNotPrimary):
		return "Overtaken", false
	case errors.Is(err, dns.ErrOccupied), errors.Is(err, dns.ErrRefused), errors.Is(err, arc.ErrConflict), elasticache.Refused(err):
		return "Refused", false
	}
	return "Error", true
}

// guard fails unless this Region still is the primary. Drivers ask it before each change: a
// function may have been frozen, or a throttle may have lasted, since it was decided.
func (r *Reconciler) guard(ctx context.Context) error {
	d, err := r.decide(ctx)
	if err != nil {
		return err
	}
	if d.Verdict != Move {
		return fmt.Errorf("%w: %s", route53.ErrNotPrimary, d.Reason)
	}
	return nil
}

// verify asks who is the primary after something was moved. If it is another Region now, its
// own function moves things, at the latest by its schedule; here it is only told.
func (r *Reconciler) verify(ctx context.Context, report *report) {
	ctx, cancel := context.WithTimeout(ctx, verifyBudget)
	defer cancel()
	err := r.guard(ctx)
	if err != nil {
		report.tell("verify", err.Error())
	}
	report.count("Overtaken", yes(errors.Is(err, route53.ErrNotPrimary)))
}
