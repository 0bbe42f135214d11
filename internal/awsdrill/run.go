package awsdrill

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"

	"github.com/roam-sessions/roam/internal/awslambda"
	"github.com/roam-sessions/roam/internal/pause"
)

const (
	// calmMinutes is how long all goes on before a round, so that alarms have data.
	calmMinutes = 4
	// stageTime bounds how long a stage may take beyond what AWS takes.
	stageTime = 30 * time.Second
	// heldMinutes is how long a name is seen not to move, in minutes.
	heldMinutes = 4
)

// Run moves the primary, moves it with the control plane of Route 53 dark, and has each Region be lost
// in turn.
func Run(ctx context.Context, c Config) (r Result, err error) {
	r = Result{Promotion: c.Promotion, Propagation: c.Propagation, Minute: c.Minute, Shards: c.Shards}
	w, err := newWorld(ctx, c)
	defer func() { err = errors.Join(err, w.close()) }()
	if err != nil {
		return r, err
	}
	reporting, stop := context.WithCancel(ctx)
	var reports sync.WaitGroup
	defer reports.Wait()
	defer stop()
	for _, region := range regions() {
		limit, cancel := context.WithTimeout(ctx, setUpTime)
		err = w.makePromoter(limit, region)
		cancel()
		if err != nil {
			return r, fmt.Errorf("the promoter of %s: %w", region, err)
		}
		reports.Go(func() { w.report(reporting, region) })
	}
	for _, next := range []struct{ to, dark string }{{west2, ""}, {west1, global}, {west2, west1}, {west1, west2}} {
		if !pause.For(ctx, calmMinutes*c.Minute) {
			return r, ctx.Err()
		}
		round, err := w.round(ctx, next.to, next.dark)
		if err != nil {
			return r, err
		}
		r.Rounds = append(r.Rounds, round)
	}
	return r, nil
}

// round moves the primary to a Region and watches what comes of it.
func (w *world) round(ctx context.Context, to, dark string) (Round, error) {
	r := Round{To: to, Dark: dark, Ran: missed}
	for _, name := range names() {
		r.Names = append(r.Names, Move{Name: name, By: ways()[name], Held: dark == global && name == byRecord, Led: missed, Writes: map[string]time.Duration{}})
	}
	before := make([]int, len(w.stands))
	for i, s := range w.stands {
		before[i], _, _ = s.wrote()
	}
	lines := len(w.cloud.FunctionLog(w.functions[to]))
	since, err := w.begin(ctx, &r)
	if err != nil {
		return r, err
	}
	r.Promoted = stage(ctx, w.config.Promotion, since, func() bool {
		is, err := w.is(ctx, "available", to)
		return is && err == nil
	})
	w.say("it is, after %v", r.Promoted.Round(time.Millisecond))
	promoted := time.Now()
	if err := w.watch(ctx, &r, since, promoted, lines); err != nil {
		return r, err
	}
	if dark != "" {
		if err := w.light(ctx, &r); err != nil {
			return r, err
		}
	}
	return r, w.count(ctx, &r, before)
}

// begin has the move begin: a Region goes dark, or none, and the primary is moved by hand, or by the
// promoter if it is the primary that is lost. It returns how long ago that was.
func (w *world) begin(ctx context.Context, r *Round) (since func() time.Duration, err error) {
	if r.lost() { // it has been the primary before, and nothing goes back by itself
		w.say("an operator readmits %s", r.To)
		if err := w.cloud.PutParameter(r.To, memoryName, awslambda.Memory{Role: "SECONDARY"}.String()); err != nil {
			return nil, err
		}
	}
	if r.Dark != "" {
		w.say("%s goes dark", r.Dark)
		if err := w.cloud.SetDark(r.Dark, true); err != nil {
			return nil, err
		}
		w.dark.Store(&r.Dark)
	}
	began := time.Now()
	since = func() time.Duration { return time.Since(began) }
	if r.lost() {
		const minutes = 4
		lines := len(w.cloud.FunctionLog(w.promoters[r.To]))
		r.Asked = stage(ctx, minutes*w.config.Minute, since, func() bool { return w.promoted(r.To, lines) })
		if r.Asked < 0 {
			log := w.cloud.FunctionLog(w.promoters[r.To])
			w.say("the promoter has not asked for %s; the last that it said: %s", r.To, log[max(0, len(log)-2):])
			return since, nil
		}
		w.say("the promoter has asked for %s, after %v", r.To, r.Asked.Round(time.Millisecond))
		return since, nil
	}
	w.say("ElastiCache is asked to make %s the primary", r.To)
	_, err = w.cache(r.To).FailoverGlobalReplicationGroup(ctx, &elasticache.FailoverGlobalReplicationGroupInput{
		GlobalReplicationGroupId: &w.store, PrimaryRegion: &r.To, PrimaryReplicationGroupId: aws.String(groupOf(r.To)),
	})
	if err != nil {
		return nil, fmt.Errorf("fail over to %s: %w", r.To, err)
	}
	return since, nil
}

// stage waits for something and returns when it was so, or missed.
func stage(ctx context.Context, takes time.Duration, since func() time.Duration, is func() bool) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, takes+stageTime)
	defer cancel()
	if until(ctx, func() (bool, error) { return is(), nil }) != nil {
		return missed
	}
	return since()
}

// watch notes when the function has run, when each name leads to the new primary, and when the shops
// at it write again.
func (w *world) watch(ctx context.Context, r *Round, since func() time.Duration, promoted time.Time, lines int) error {
	var all sync.WaitGroup
	var mu sync.Mutex     // guards r
	if r.Dark != global { // else it waits for what is dark before it says what it did
		all.Go(func() {
			ran := stage(ctx, w.config.Minute, since, func() bool { return w.moved(r.To, lines) })
			mu.Lock()
			defer mu.Unlock()
			r.Ran = ran
		})
	}
	for i := range r.Names {
		m := &r.Names[i]
		if m.Held {
			all.Go(func() {
				pause.For(ctx, heldMinutes*w.config.Minute)
				if w.leads(ctx, m.Name, r.To) {
					m.Led = since()
				}
			})
			continue
		}
		all.Go(func() {
			led := stage(ctx, w.config.Propagation+heldMinutes*w.config.Minute, since, func() bool { return w.leads(ctx, m.Name, r.To) })
			mu.Lock()
			m.Led = led
			mu.Unlock()
			if led < 0 {
				w.say("%s does not lead there", m.Name)
				return
			}
			w.say("%s leads there, by %s, after %v", m.Name, m.By, led.Round(time.Millisecond))
			w.writes(ctx, m, since, promoted)
		})
	}
	all.Wait()
	return ctx.Err()
}

// writes notes when the shops at a name write again, of which that is not noted yet.
func (w *world) writes(ctx context.Context, m *Move, since func() time.Duration, promoted time.Time) {
	for _, s := range w.stands {
		_, noted := m.Writes[s.region]
		if dark := w.dark.Load(); s.name != m.Name || noted || dark != nil && *dark == s.region {
			continue
		}
		m.Writes[s.region] = stage(ctx, 0, since, func() bool {
			_, last, _ := s.wrote()
			return last.After(promoted)
		})
		if m.Writes[s.region] >= 0 {
			_, last, _ := s.wrote()
			w.say("the shop of %s writes at %s again (%v ago)", s.region, m.Name, time.Since(last).Round(time.Millisecond))
		}
	}
}

// moved reports whether the function of a Region has said, since a line of its log, that it moved the
// record and the control.
func (w *world) moved(region string, after int) bool {
	log := w.cloud.FunctionLog(w.functions[region])
	has := func(what string) bool {
		for _, line := range log[min(after, len(log)):] {
			if strings.Contains(line, what) {
				return true
			}
		}
		return false
	}
	return has(`"ControlUpdated":1`) && has(`"DnsUpdated":1`)
}

// light has a Region be back, and notes when what it held moves.
func (w *world) light(ctx context.Context, r *Round) error {
	w.say("%s is back", r.Dark)
	if err := w.cloud.SetDark(r.Dark, false); err != nil {
		return err
	}
	w.dark.Store(nil)
	back := time.Now()
	since := func() time.Duration { return time.Since(back) }
	for i := range r.Names {
		m := &r.Names[i]
		if r.lost() {
			w.writes(ctx, m, since, back)
		}
		if !m.Held {
			continue
		}
		m.Late = stage(ctx, w.config.Propagation+2*w.config.Minute, since, func() bool { return w.leads(ctx, m.Name, r.To) })
		w.writes(ctx, m, since, back)
	}
	return ctx.Err()
}

// count counts what was written, and what of it is not there. Visits go on until they are counted; a
// session shows at least those that were acknowledged before it is looked at.
func (w *world) count(ctx context.Context, r *Round, before []int) error {
	if !pause.For(ctx, time.Second) { // what is on its way comes
		return ctx.Err()
	}
	for i, s := range w.stands {
		wrote, _, failed := s.wrote()
		shows, in, err := s.shows(ctx)
		if err = errors.Join(failed, err); err != nil {
			return fmt.Errorf("the shop of %s at %s, in the end: %w", s.region, s.name, err)
		}
		r.Acknowledged += wrote - before[i]
		r.Lost += max(0, wrote-shows)
		if !in {
			r.LoggedOut++
		}
	}
	return nil
}

// resolving has whoever asks for names in this program ask the fakes' name server.
func resolving(r *net.Resolver) (undo func()) {
	was := net.DefaultResolver
	net.DefaultResolver = r
	return func() { net.DefaultResolver = was }
}
