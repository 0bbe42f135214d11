package judge_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/roam-sessions/roam/internal/judge"
	"github.com/roam-sessions/roam/internal/judge/alarm"
)

const (
	lawCooldown = time.Minute
	lawWindow   = 5 * time.Minute
)

// A bureau is a judge that is told anything, whether or not a world could be so.
type bureau struct {
	t       *rapid.T
	regions []string
	members []string
	c       judge.Config
	rules   judge.Rules
	state   judge.State
	now     time.Time
	lease   judge.Lease
	moves   []time.Time // of the lease, by failovers
	beat    uint64
}

func newBureau(t *rapid.T) *bureau {
	regions := []string{"a", "b", "c", "d", "e"}[:rapid.IntRange(1, 5).Draw(t, "regions")]
	witnesses := []string{"x", "y"}[:rapid.IntRange(0, 2).Draw(t, "witnesses")]
	b := &bureau{
		t: t, regions: regions, members: slices.Concat(regions, witnesses),
		now:   time.Date(2025, 10, 3, 12, 0, 0, 0, time.UTC),
		lease: judge.Lease{Holder: "a", Epoch: 1},
		c: judge.Config{
			Regions: regions, Witnesses: witnesses, Cooldown: lawCooldown, Window: lawWindow, FlapWindow: lawCooldown,
			Mode: rapid.SampledFrom([]judge.Mode{judge.Automatic, judge.Automatic, judge.Advise, judge.Off}).Draw(t, "mode"),
			Lost: judge.Hysteresis{Bad: 1, Of: 2, Good: 2}, MaxFailovers: rapid.IntRange(1, 3).Draw(t, "max failovers"),
		},
	}
	rules, err := judge.New(b.c)
	if err != nil {
		t.Fatal(err)
	}
	b.rules, b.c = rules, rules.Config()
	return b
}

// draw draws what is told. Bad is how likely bad news is, in tenths.
func (b *bureau) draw(bad int) judge.Observations {
	t := b.t
	b.beat++
	in := judge.Observations{Lease: b.lease}
	sight := rapid.Custom(func(t *rapid.T) judge.Sight {
		switch n := rapid.IntRange(0, 9).Draw(t, "sight"); {
		case n < bad:
			return judge.Down
		case n == 9:
			return judge.Unseen
		}
		return judge.Up
	})
	for _, m := range b.members {
		if rapid.IntRange(0, 9).Draw(t, "reports") == 0 {
			continue
		}
		r := judge.Report{Member: m, At: b.now.Add(-time.Duration(rapid.IntRange(0, 3000).Draw(t, "age")) * time.Millisecond)}
		for _, region := range b.regions {
			clock := time.Duration(rapid.IntRange(0, 6).Draw(t, "clock")) * time.Second
			r.Views = append(r.Views, judge.View{
				Region: region, In: sight.Draw(t, "in"), Out: sight.Draw(t, "out"), Engine: sight.Draw(t, "engine"),
				Beat: b.beatBefore(rapid.Uint64Range(0, 14).Draw(t, "behind")), Clock: &clock,
			})
			r.Writes = append(r.Writes, judge.Writes{To: region, Count: 20, Failed: 20 * rapid.IntRange(0, min(bad, 1)).Draw(t, "failed")})
		}
		in.Reports = append(in.Reports, r)
	}
	if bad > 0 && rapid.IntRange(0, 9).Draw(t, "alarm") == 0 {
		in.Alarms = []alarm.Raised{{
			Alarm: "x", Region: rapid.SampledFrom(b.regions).Draw(t, "of"),
			Feed: rapid.SampledFrom([]alarm.Feed{alarm.FeedDegrade, alarm.FeedFailOver, alarm.FeedRouteAway}).Draw(t, "feed"),
		}}
	}
	return in
}

func (b *bureau) beatBefore(tenths uint64) judge.Beat {
	n := 10*b.beat + 20 - tenths
	return judge.Beat{Epoch: b.lease.Epoch, N: n, At: time.Unix(0, 0).Add(time.Duration(n) * 100 * time.Millisecond)}
}

// majority counts those who report in time.
func (b *bureau) majority(in judge.Observations) bool {
	n := 0
	for _, r := range in.Reports {
		if b.now.Sub(r.At) <= b.c.Fresh {
			n++
		}
	}
	return 2*n > len(b.members)
}

func TestLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBureau(t)
		for range rapid.IntRange(1, 60).Draw(t, "periods") {
			b.now = b.now.Add(time.Duration(rapid.IntRange(0, 4000).Draw(t, "pause")) * time.Millisecond)
			in := b.draw(rapid.IntRange(0, 9).Draw(t, "bad"))
			before := b.state
			next, v := b.rules.Judge(b.state, in, b.now)
			b.pure(in, next, v)
			b.lawful(in, before, next, v)
			b.bounded(next)
			b.state = next
			b.follow(v)
		}
	})
}

// pure: what comes in decides, and its order does not; nothing that came in changed.
func (b *bureau) pure(in judge.Observations, next judge.State, v judge.Verdict) {
	copied := judge.State{}
	raw := toJSON(b.t, b.state)
	if err := json.Unmarshal([]byte(raw), &copied); err != nil {
		b.t.Fatal(err)
	}
	slices.Reverse(in.Reports)
	again, w := b.rules.Judge(copied, in, b.now)
	if toJSON(b.t, again) != toJSON(b.t, next) || !reflect.DeepEqual(v, w) {
		b.t.Fatalf("from the state's JSON, and reports the other way round: %v, held %v; it was %v, held %v", w.Findings, w.Held, v.Findings, v.Held)
	}
	if toJSON(b.t, b.state) != raw {
		b.t.Fatalf("Judge changed its argument")
	}
}

// lawful: what may be found at all.
func (b *bureau) lawful(in judge.Observations, before, next judge.State, v judge.Verdict) {
	t := b.t
	if v.Ruled != b.majority(in) || !v.Ruled && (len(v.Findings) > 0 || len(next.Failovers) > len(before.Failovers)) {
		t.Fatalf("%d of %d members reported, and the verdict is %v, ruled: %v", len(in.Reports), len(b.members), v.Findings, v.Ruled)
	}
	b.allowed(v)
	f, ok := v.FailOver()
	if !ok {
		return
	}
	if f.From != b.lease.Holder || f.To == f.From || slices.Contains(before.Left, f.To) || f.Lag > b.c.MaxLag || v.Epoch != b.lease.Epoch {
		t.Fatalf("%v with lag %v, while %v holds the lease and %v have left", f, f.Lag, b.lease, before.Left)
	}
	b.shown(in, f.To)
}

// allowed: the mode allows what is found, and users have somewhere to go.
func (b *bureau) allowed(v judge.Verdict) {
	away := 0
	for _, f := range v.Findings {
		grave := f.Kind == judge.FailOver || f.Kind == judge.RouteAway
		if f.Reason == "" || f.Rule == "" || f.Act != (grave && b.c.Mode == judge.Automatic) || grave && b.c.Mode == judge.Off {
			b.t.Fatalf("in mode %s: %+v", b.c.Mode, f)
		}
		if f.Kind == judge.RouteAway {
			away++
		}
	}
	if away > 0 && away == len(b.regions) {
		b.t.Fatalf("users have nowhere to go: %v", v.Findings)
	}
}

// shown: who is promoted has said itself that it is caught up with all that is known.
func (b *bureau) shown(in judge.Observations, to string) {
	var known, own judge.Beat
	for _, r := range in.Reports {
		for _, view := range r.Views {
			if b.now.Sub(r.At) > b.c.Fresh {
				continue
			}
			if view.Beat.N > known.N {
				known = view.Beat
			}
			if r.Member == to && view.Region == to {
				own = view.Beat
			}
		}
	}
	if own.N == 0 || known.At.Sub(own.At) > b.c.MaxLag {
		b.t.Fatalf("%s is promoted with %+v, and %+v is known", to, own, known)
	}
}

// bounded: a state does not grow.
func (b *bureau) bounded(s judge.State) {
	n := len(b.regions)
	if len(s.Signals) > 4*n+3*n*n || len(s.Left) > n || len(s.Failovers) > 8 {
		b.t.Fatalf("%d signals, %d Regions left, %d failovers", len(s.Signals), len(s.Left), len(s.Failovers))
	}
	for key, signal := range s.Signals {
		if len(signal.Flaps) > b.c.MaxFlaps {
			b.t.Fatalf("%s has %d flaps", key, len(signal.Flaps))
		}
	}
}

// follow carries failovers out, sometimes, and watches that there are few.
func (b *bureau) follow(v judge.Verdict) {
	f, ok := v.FailOver()
	if !ok || !f.Act {
		return
	}
	if n := len(b.state.Failovers); n == 0 || b.state.Failovers[n-1].Epoch != b.lease.Epoch {
		b.t.Fatalf("%v is not remembered: %+v", f, b.state.Failovers)
	}
	if rapid.IntRange(0, 3).Draw(b.t, "is carried out") > 0 {
		return
	}
	if n := len(b.moves); n > 0 && b.now.Sub(b.moves[n-1]) < lawCooldown {
		b.t.Fatalf("failovers at %v and %v", b.moves[n-1], b.now)
	}
	if n := len(b.moves) - b.c.MaxFailovers; n >= 0 && b.now.Sub(b.moves[n]) < lawWindow {
		b.t.Fatalf("failovers at %v and now at %v", b.moves[n:], b.now)
	}
	b.moves = append(b.moves, b.now)
	b.lease = judge.Lease{Holder: f.To, Epoch: b.lease.Epoch + 1, Since: b.now, Unplanned: true}
	if rapid.Bool().Draw(b.t, "readmit") {
		b.state = b.state.Readmit(f.From)
	}
}

// However much is missing, and from whom: without bad news nothing is done.
func TestSilenceIsNoReason(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBureau(t)
		for range rapid.IntRange(1, 50).Draw(t, "periods") {
			b.now = b.now.Add(time.Second)
			in := b.draw(0)
			for i := range in.Reports {
				for j := range in.Reports[i].Views {
					in.Reports[i].Views[j].Clock = nil
					in.Reports[i].Views[j].Beat = judge.Beat{}
				}
			}
			var v judge.Verdict
			b.state, v = b.rules.Judge(b.state, in, b.now)
			if len(v.Findings) > 0 {
				t.Fatalf("nobody has bad news, and the verdict is %v", v.Findings)
			}
		}
	})
}

func toJSON(t interface{ Fatal(...any) }, v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
