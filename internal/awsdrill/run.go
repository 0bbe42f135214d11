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
)

const (
	// calmMinutes is how long all goes on before a round, so that alarms have data.
	calmMinutes = 4
	// stageTime bounds how long a stage may take beyond what AWS takes.
	stageTime = 30 * time.Second
	// heldMinutes is how long a name is seen not to move, in minutes.
	heldMinutes = 4
)

// Run moves the primary, and moves it back and forth with the control plane of Route 53 dark.
func Run(ctx context.Context, c Config) (r Result, err error) {
	r = Result{Promotion: c.Promotion, Propagation: c.Propagation, Minute: c.Minute}
	w, err := newWorld(ctx, c)
	defer func() { err = errors.Join(err, w.close()) }()
	if err != nil {
		return r, err
	}
	for _, next := range []struct{ to, dark string }{{west2, ""}, {west1, global}, {west2, global}} {
		if err := rest(ctx, calmMinutes*c.Minute); err != nil {
			return r, err
		}
		round, err := w.round(ctx, next.to, next.dark)
		if err != nil {
			return r, err
		}
		r.Rounds = append(r.Rounds, round)
	}
	return r, nil
}

func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// round moves the primary to a Region and watches what comes of it.
func (w *world) round(ctx context.Context, to, dark string) (Round, error) {
	r := Round{To: to, Dark: dark, Ran: missed}
	for _, name := range names() {
		r.Names = append(r.Names, Move{Name: name, By: ways()[name], Held: dark == global && name == byRecord, Led: missed, Writes: map[string]time.Duration{}})
	}
	if dark != "" {
		w.say("%s goes dark", dark)
		if err := w.cloud.SetDark(dark, true); err != nil {
			return r, err
		}
	}
	before := make([]int, len(w.stands))
	for i, s := range w.stands {
		before[i], _, _ = s.wrote()
	}
	lines := len(w.cloud.FunctionLog(w.functions[to]))
	w.say("ElastiCache is asked to make %s the primary", to)
	began := time.Now()
	_, err := w.cache(to).FailoverGlobalReplicationGroup(ctx, &elasticache.FailoverGlobalReplicationGroupInput{
		GlobalReplicationGroupId: &w.store, PrimaryRegion: &to, PrimaryReplicationGroupId: aws.String(groupOf(to)),
	})
	if err != nil {
		return r, fmt.Errorf("fail over to %s: %w", to, err)
	}
	since := func() time.Duration { return time.Since(began) }
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
	var mu sync.Mutex // guards r
	if r.Dark == "" { // else it waits for what is dark before it says what it did
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
				_ = rest(ctx, heldMinutes*w.config.Minute)
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
			w.say("%s leads there, by %s, after %v", m.Name, m.By, led.Round(time.Millisecond))
			w.writes(ctx, m, since, promoted)
		})
	}
	all.Wait()
	return ctx.Err()
}

// writes notes when the shops at a name write again.
func (w *world) writes(ctx context.Context, m *Move, since func() time.Duration, promoted time.Time) {
	for _, s := range w.stands {
		if s.name != m.Name {
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
	back := time.Now()
	since := func() time.Duration { return time.Since(back) }
	for i := range r.Names {
		m := &r.Names[i]
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
	if err := rest(ctx, time.Second); err != nil { // what is on its way comes
		return err
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
