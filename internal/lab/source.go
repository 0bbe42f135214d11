package lab

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/internal/console"
	"github.com/roam-sessions/roam/internal/fault"
	"github.com/roam-sessions/roam/internal/replica"
)

// State returns how everything is.
func (l *Lab) State() console.State {
	d := l.deployment()
	s := console.State{
		Topology: d.topology, ReadAfterWrite: l.config.ReadAfterWrite.String(),
		UptimeMs: time.Since(d.begun).Milliseconds(), Shop: l.config.ShopURL, LastEvent: l.feed.newest(),
	}
	if id := d.primary(); id != 0 {
		s.Primary = d.regionByID(id).name
	}
	for _, r := range d.regions {
		s.Regions = append(s.Regions, l.regionState(d, r))
		for _, to := range d.byDistance(r) {
			s.Links = append(s.Links, d.linkState(r, to))
		}
	}
	s.Totals, s.Control = console.Sum(s.Regions), d.controlState()
	return s
}

func (l *Lab) regionState(d *deployment, r *region) console.Region {
	kept, p := d.keeper.kept(r), r.process()
	s := console.Region{
		Name: r.name, ID: uint8(r.id), Alive: d.alive(r.name),
		Primary: d.primary() == 0 || d.primary() == r.id,
		Records: kept.records, Bytes: kept.bytes, LogEntries: kept.log,
		PendingRevocations: p.store.PendingRevocations(), OpenBreakers: p.store.OpenBreakers(),
	}
	if l.config.ShopURL != "" {
		s.Shop = l.config.ShopURL + switchPath + "?to=" + r.name
	}
	r.stats.fill(&s, time.Now())
	return s
}

func (d *deployment) linkState(from, to *region) console.Link {
	s := console.Link{
		From: from.name, To: to.name,
		Calls: d.planeState(from, to, fault.Calls), Replication: d.planeState(from, to, fault.Replication),
	}
	if !d.carries(from, to) { // nothing is written there, so the other one has it all
		s.Connected, s.LagMs = d.alive(from.name) && d.alive(to.name), millis(0)
		return s
	}
	d.keeper.stream(&s, from, to)
	if r := from.process().replica; r != nil {
		pushed(&s, r.Status().Peers, to.id)
	}
	// The receiver alone knows how fresh its copy is.
	if age, ok := to.process().heard(from.id); ok {
		s.HeardMs = millis(age)
		if s.LagMs = millis(age); !d.native() && s.LagEntries == 0 && s.Connected {
			s.LagMs = millis(0)
		}
	}
	return s
}

// pushed fills in what a Region knows of the stream to a peer that it pushes to.
func pushed(s *console.Link, peers []replica.Peer, to crdt.Region) {
	for _, p := range peers {
		if p.Region == to {
			s.Connected, s.LagEntries, s.UnackedBytes, s.SentEntries = p.Connected, p.LagEntries, int64(p.Unacked), p.Counts.Entries
			s.Resyncs, s.Pulls, s.LastError = p.Counts.Resyncs, p.Counts.Pulls, p.LastError
		}
	}
}

func (d *deployment) planeState(from, to *region, plane fault.Plane) console.Plane {
	link := d.net.Link(from.name, to.name, plane)
	return console.Plane{
		DelayMs: *millis(link.Delay), JitterMs: *millis(link.Jitter), Loss: link.Loss, Cut: link.Cut,
		Changed: link != fault.Link{Delay: distance(from.name, to.name), Jitter: jitter},
	}
}

// Events returns what happened after the event with that number.
func (l *Lab) Events(ctx context.Context, after uint64) ([]console.Event, error) {
	return l.feed.after(ctx, after)
}

// Do does what somebody asked of the console.
func (l *Lab) Do(ctx context.Context, a console.Action) error {
	if err := a.Check(l.State()); err != nil {
		return err
	}
	d := l.deployment()
	switch a.Kind {
	case console.ActTopology:
		return l.redeploy(ctx, a.Topology)
	case console.ActHeal:
		if a.From == "" {
			return l.healAll(ctx)
		}
		d.heal(a.From, a.To)
		l.feed.add(console.Event{Kind: console.KindLink, Region: a.From, Text: a.From + " → " + a.To + " is healed"})
	case console.ActRegion:
		return l.setAlive(ctx, a.Region, *a.Alive)
	case console.ActLink:
		l.setLink(d, a)
	case console.ActSwitchover:
		return d.switchOver(ctx, a.Region)
	case console.ActReadmit:
		return d.readmit(ctx, a.Region)
	}
	return nil
}

// claim waits until Regions are neither starting over nor dying nor reviving, and
// keeps them from it until release is called.
func (l *Lab) claim(ctx context.Context) (release func(), err error) {
	select {
	case <-l.ending:
		return nil, &console.Refusal{Problem: "the Regions are ending", Next: "start the demo again"}
	default:
	}
	select {
	case l.change <- struct{}{}:
		return func() { <-l.change }, nil
	case <-l.ending:
		return nil, &console.Refusal{Problem: "the Regions are ending", Next: "start the demo again"}
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for Regions that are starting: %w", ctx.Err())
	}
}

// healAll makes everything as it was.
func (l *Lab) healAll(ctx context.Context) error {
	release, err := l.claim(ctx)
	if err != nil {
		return err
	}
	defer release()
	d := l.deployment()
	for _, from := range d.regions {
		for _, to := range d.byDistance(from) {
			d.heal(from.name, to.name)
		}
	}
	for _, r := range d.regions {
		if err := d.revive(ctx, r); err != nil {
			return err
		}
	}
	l.feed.add(console.Event{Kind: console.KindLink, Text: "everything is healed"})
	return nil
}

func (l *Lab) setAlive(ctx context.Context, name string, alive bool) error {
	release, err := l.claim(ctx)
	if err != nil {
		return err
	}
	defer release()
	d := l.deployment()
	if r := d.region(name); alive {
		return d.revive(ctx, r)
	} else if d.net.Alive(name) {
		err = d.keeper.kill(r)
		d.tell(r, name+" is dead: it answers nobody")
	}
	return err
}

// revive brings a Region back that is dead.
func (d *deployment) revive(ctx context.Context, r *region) error {
	if d.net.Alive(r.name) {
		return nil
	}
	r.waking.Store(true)
	defer r.waking.Store(false)
	tale, err := d.keeper.revive(ctx, r)
	if err != nil {
		return fmt.Errorf("revive %s: %w", r.name, err)
	}
	d.tell(r, r.name+" is back, "+tale)
	return nil
}

func (l *Lab) setLink(d *deployment, a console.Action) {
	name := a.From + " → " + a.To
	lines := map[string][]string{} // planes by what became of them
	for _, plane := range planes(a.Plane) {
		link := d.net.Link(a.From, a.To, plane)
		if a.Cut != nil {
			link.Cut = *a.Cut
		}
		if a.DelayMs != nil {
			link.Delay = time.Duration(*a.DelayMs) * time.Millisecond
		}
		if a.Loss != nil {
			link.Loss = *a.Loss
		}
		d.net.SetLink(a.From, a.To, plane, link)
		what := describe(link)
		lines[what] = append(lines[what], fmt.Sprintf("%s, %v: %s", name, plane, what))
	}
	for _, what := range slices.Sorted(maps.Keys(lines)) {
		text := lines[what][0]
		if len(lines[what]) > 1 {
			text = name + ": " + what
		}
		l.feed.add(console.Event{Kind: console.KindLink, Region: a.From, Text: text})
	}
}

func planes(name string) []fault.Plane {
	switch name {
	case console.PlaneCalls:
		return []fault.Plane{fault.Calls}
	case console.PlaneReplication:
		return []fault.Plane{fault.Replication}
	}
	return []fault.Plane{fault.Calls, fault.Replication}
}

func describe(l fault.Link) string {
	switch {
	case l.Cut:
		return "cut"
	case l.Loss > 0:
		return fmt.Sprintf("%v, %.0f %% lost", l.Delay, 100*l.Loss)
	}
	return l.Delay.String()
}

// observe counts an act and tells of those that people want to hear of.
func (l *Lab) observe(r *region, o roam.Observation) {
	if o.Key.Kind() == crdt.KindSession && o.Act == roam.ActRead {
		if before := r.stats.read(o.Answer.Left, o.Answer.Rung); before != o.Answer.Rung {
			l.tellRung(r, o)
		}
		if n := len(o.Answer.Lost); n > 0 {
			l.feed.add(console.Event{Kind: console.KindLost, Region: r.name, Text: fmt.Sprintf("session %v: %d writes were lost in a failover", o.Key, n)})
		}
		return
	}
	if o.Act == roam.ActRead {
		return
	}
	if before := r.stats.write(time.Now(), o.Took, o.Answer.Rung); before != o.Answer.Rung {
		l.tellRung(r, o)
	}
	text := fmt.Sprintf("%v of %v, %v", o.Act, o.Key, brief(o.Took))
	if o.Err != nil {
		text += ": " + o.Err.Error()
	}
	l.feed.add(console.Event{Kind: kindOf(o.Act), Region: r.name, Text: text, Rung: o.Answer.Rung.String()})
}

// brief rounds a duration to what people read of it.
func brief(d time.Duration) time.Duration {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond)
	case d >= time.Millisecond:
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Microsecond)
}

func (l *Lab) tellRung(r *region, o roam.Observation) {
	l.feed.add(console.Event{Kind: console.KindRung, Region: r.name, Rung: o.Answer.Rung.String(), Text: r.name + " answers " + o.Answer.Rung.String()})
}

func kindOf(a roam.Act) string {
	switch a {
	case roam.ActLogin:
		return console.KindLogin
	case roam.ActDestroy:
		return console.KindLogout
	case roam.ActRevoke:
		return console.KindRevoke
	case roam.ActTakeBack:
		return console.KindTakeBack
	}
	return console.KindWrite
}
