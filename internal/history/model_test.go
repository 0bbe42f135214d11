package history_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/roam-sessions/roam/internal/history"
)

// A step is one request of the model: it takes effect at one moment between its
// start and its end.
type step struct {
	history.Event
	effect int64
}

// model returns a history of a store that does one thing after the other, for
// clients that send one request after the other, sorted by the moment of effect.
func model(pick func(n int) int, clients, sessions, requests int) []history.Event {
	var steps []step
	for c := range clients {
		at := int64(1)
		for range requests {
			e := history.Event{
				Client: fmt.Sprint("c", c), Session: fmt.Sprint("s", pick(sessions)), Region: uint8(1 + pick(3)), //nolint:gosec // small
				Start: at + int64(pick(5)), Kind: history.Read,
			}
			effect := e.Start + 1 + int64(pick(9))
			e.End = effect + 1 + int64(pick(9))
			at = e.End + 1
			switch kind := pick(20); {
			case kind < 9:
				e.Kind, e.Field = history.Write, string(rune('a'+pick(3)))
			case kind == 9:
				e.Kind, e.Have = history.End, 0b1110
			}
			steps = append(steps, step{e, effect})
		}
	}
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(a.effect, b.effect) })
	store := map[string]map[string]string{}
	ended := map[string]bool{}
	var out []history.Event
	for i, s := range steps {
		e := s.Event
		fields := store[e.Session]
		switch {
		case e.Kind == history.End:
			ended[e.Session] = true
		case ended[e.Session] && e.Kind == history.Write:
			e.Value, e.Refused = fmt.Sprint("v", i), true
		case e.Kind == history.Write:
			e.Value, e.Order = fmt.Sprint("v", i), history.Order{Stamp: uint64(i + 1), Actor: uint32(e.Region)} //nolint:gosec // small
			if fields == nil {
				fields = map[string]string{}
				store[e.Session] = fields
			}
			fields[e.Field] = e.Value
		case !ended[e.Session]:
			e.Live = true
			for _, f := range []string{"a", "b", "c"} {
				v, ok := fields[f]
				e.Shows = append(e.Shows, history.Shown{Field: f, Value: v, Absent: !ok})
			}
		}
		out = append(out, e)
	}
	return out
}

func draw(t *rapid.T) []history.Event {
	pick := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "pick") }
	return model(pick, rapid.IntRange(1, 4).Draw(t, "clients"), rapid.IntRange(1, 3).Draw(t, "sessions"), 12)
}

func TestCheckLawACorrectStoreIsAccepted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := draw(t)
		r := history.Check(events)
		if !r.OK() {
			t.Fatalf("Check = %v", r)
		}
		mixed := rapid.Permutation(events).Draw(t, "mixed")
		if got := history.Check(mixed); got.Comparisons != r.Comparisons || !got.OK() {
			t.Fatalf("Check in another order = %v, want %v", got, r)
		}
	})
}

// One wrong answer must be found, whatever else there is.
func TestCheckLawAWrongAnswerIsRejected(t *testing.T) {
	broke := map[history.Guarantee]int{}
	rapid.Check(t, func(t *rapid.T) {
		events := draw(t)
		var all []mutant
		for i := range events {
			all = append(all, mutants(events, i)...)
		}
		for _, m := range all {
			mutated := slices.Clone(events)
			mutated[m.at] = m.event
			r := history.Check(mutated)
			if !slices.ContainsFunc(r.Violations, func(v history.Violation) bool { return v.Guarantee == m.breaks }) {
				t.Fatalf("event %d became %v, and Check = %v, want %s broken", m.at, m.event, r, m.breaks)
			}
			broke[m.breaks]++
		}
	})
	for _, g := range []history.Guarantee{ryw, mr, mw, wfr, nr, ni} {
		if broke[g] == 0 {
			t.Errorf("%s was never broken", g)
		}
	}
}

// A mutant is an event that would break a guarantee in the place of another one.
type mutant struct {
	at     int
	event  history.Event
	breaks history.Guarantee
}

// mutants returns what could be wrong with the event at i.
func mutants(events []history.Event, i int) (out []mutant) {
	e := events[i]
	add := func(breaks history.Guarantee, mend func(*history.Event)) {
		m := mutant{i, e, breaks}
		m.event.Shows = slices.Clone(e.Shows)
		mend(&m.event)
		out = append(out, m)
	}
	if e.Kind == history.Read && !e.Live && endedBefore(events, e) {
		add(nr, func(e *history.Event) { e.Live = true })
	}
	for j := range e.Shows {
		add(ni, func(e *history.Event) { e.Shows[j] = history.Shown{Field: e.Shows[j].Field, Value: "?"} })
	}
	for _, o := range events {
		if !precedes(o, e) || o.Refused {
			continue
		}
		switch {
		case o.Kind == history.Write && e.Kind == history.Write && !e.Refused:
			add(mw, func(e *history.Event) { e.Order.Stamp = o.Order.Stamp - 1 })
		case o.Kind == history.Write && e.Live:
			add(ryw, func(e *history.Event) { hide(e, o.Field) })
		case o.Kind == history.Read && e.Live:
			for _, f := range othersIn(events, o) {
				add(mr, func(e *history.Event) { hide(e, f) })
			}
		}
	}
	return append(out, follows(events, i)...)
}

// precedes reports whether o and e are of one client and session, one after the
// other.
func precedes(o, e history.Event) bool {
	return o.Client == e.Client && o.Session == e.Session && o.End < e.Start
}

// hide makes a read show nothing of a field.
func hide(e *history.Event, field string) {
	for j := range e.Shows {
		if e.Shows[j].Field == field {
			e.Shows[j] = history.Shown{Field: field, Absent: true}
		}
	}
}

// endedBefore reports whether the session of e was ended before e was sent.
func endedBefore(events []history.Event, e history.Event) bool {
	return slices.ContainsFunc(events, func(o history.Event) bool {
		return o.Kind == history.End && o.Session == e.Session && o.End < e.Start
	})
}

// othersIn returns the fields that a read showed as others wrote them.
func othersIn(events []history.Event, e history.Event) (fields []string) {
	for _, f := range e.Shows {
		own := slices.ContainsFunc(events, func(o history.Event) bool {
			return o.Kind == history.Write && o.Value == f.Value && o.Client == e.Client
		})
		if !f.Absent && !own {
			fields = append(fields, f.Field)
		}
	}
	return fields
}

// follows returns how a write could stand before what its client had been shown of
// another's.
func follows(events []history.Event, i int) (out []mutant) {
	e := events[i]
	if e.Kind != history.Write || e.Refused {
		return nil
	}
	for _, o := range events {
		if o.Kind != history.Read || !precedes(o, e) {
			continue
		}
		for _, f := range o.Shows {
			for _, w := range events {
				if w.Kind == history.Write && !f.Absent && w.Value == f.Value && w.Client != e.Client {
					m := mutant{i, e, wfr}
					m.event.Order.Stamp = w.Order.Stamp - 1
					out = append(out, m)
				}
			}
		}
	}
	return out
}

// million returns a history of n events, ten to a session.
func million(n int) []history.Event {
	rng := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a benchmark
	var out []history.Event
	for s := 0; len(out) < n; s++ {
		part := model(rng.IntN, 2, 1, 10)
		for i := range part {
			part[i].Session = fmt.Sprint("session", s)
			part[i].Client = fmt.Sprint(part[i].Client, "of", s)
		}
		out = append(out, part...)
	}
	return out[:n]
}

func BenchmarkCheck(b *testing.B) {
	const n = 1_000_000
	events := million(n)
	b.ReportAllocs()
	for b.Loop() {
		if r := history.Check(events); !r.OK() {
			b.Fatal(r)
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
