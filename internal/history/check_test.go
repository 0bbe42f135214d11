package history_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/roam-sessions/roam/internal/history"
)

// at returns an event of client "c" in session "s", Region 1.
func at(start, end int64, kind history.Kind, mend ...func(*history.Event)) history.Event {
	e := history.Event{Client: "c", Session: "s", Region: 1, Kind: kind, Start: start, End: end}
	for _, m := range mend {
		m(&e)
	}
	return e
}

func in(region uint8) func(*history.Event) { return func(e *history.Event) { e.Region = region } }
func by(client string) func(*history.Event) {
	return func(e *history.Event) { e.Client = client }
}
func stale(e *history.Event)     { e.Stale = true }
func lost(e *history.Event)      { e.Lost = true }
func refused(e *history.Event)   { e.Refused = true }
func ambiguous(e *history.Event) { e.Ambiguous = true }

func unknown(e *history.Event) { e.Order = history.Order{} }

func have(regions ...uint8) func(*history.Event) {
	return func(e *history.Event) {
		for _, r := range regions {
			e.Have |= 1 << r
		}
	}
}

func ann(began int64) func(*history.Event) {
	return func(e *history.Event) { e.User, e.Began = "ann", began }
}

func put(start, end int64, value string, stamp uint64, mend ...func(*history.Event)) history.Event {
	e := at(start, end, history.Write)
	e.Field, e.Value, e.Order = "a", value, history.Order{Stamp: stamp, Actor: 1}
	for _, m := range mend {
		m(&e)
	}
	return e
}

func del(start, end int64, stamp uint64, mend ...func(*history.Event)) history.Event {
	e := put(start, end, "", stamp, mend...)
	e.Gone = true
	return e
}

func see(start, end int64, value string, mend ...func(*history.Event)) history.Event {
	e := at(start, end, history.Read, mend...)
	e.Live, e.Shows = true, []history.Shown{{Field: "a", Value: value, Absent: value == ""}}
	return e
}

func live(start, end int64, mend ...func(*history.Event)) history.Event {
	e := at(start, end, history.Read, mend...)
	e.Live = true
	return e
}

const (
	ryw = history.ReadYourWrites
	mr  = history.MonotonicReads
	mw  = history.MonotonicWrites
	wfr = history.WritesFollowReads
	nr  = history.NoResurrection
	ni  = history.NothingInvented
)

type H = []history.Event

type G = []history.Guarantee

// A scene is a history and what it breaks.
type scene struct {
	name   string
	events H
	want   G
}

func TestCheck(t *testing.T) {
	for _, test := range slices.Concat(
		ownWrites(), ownDeletions(), monotonicReads(), monotonicWrites(), writesFollowReads(), invented(), ended(), revoked(),
	) {
		t.Run(test.name, func(t *testing.T) {
			for range 2 { // in any order
				report := history.Check(test.events)
				var got G
				for _, v := range report.Violations {
					got = append(got, v.Guarantee)
				}
				if !slices.Equal(got, test.want) || report.OK() != (test.want == nil) {
					t.Errorf("Check = %v\nwant %v", report, test.want)
				}
				slices.Reverse(test.events)
			}
		})
	}
}

func ownWrites() []scene {
	return []scene{
		{"own write is shown", H{put(1, 2, "x", 5), see(3, 4, "x", in(2))}, nil},
		{"own write is not shown", H{put(1, 2, "x", 5), see(3, 4, "", in(2))}, G{ryw}},
		{"an older one is shown", H{put(1, 2, "w", 4, by("d")), put(1, 2, "x", 5), see(3, 4, "w")}, G{ryw}},
		{"a newer one is shown", H{put(1, 2, "w", 6, by("d")), put(1, 2, "x", 5), see(3, 4, "w")}, nil},
		{"another's write is not shown", H{put(1, 2, "x", 5, by("d")), see(3, 4, "")}, nil},
		{"stale", H{put(1, 2, "x", 5), see(3, 4, "", stale)}, nil},
		{"lost, and no longer asked for", H{put(1, 2, "x", 5), see(3, 4, "", lost), see(5, 6, "")}, nil},
		{"stale is not lost", H{put(1, 2, "x", 5), see(3, 4, "", stale), see(5, 6, "")}, G{ryw}},
		{"write under way", H{put(1, 4, "x", 5), see(4, 5, "")}, nil},
		{"ambiguous write", H{put(1, 2, "x", 5, ambiguous), see(3, 4, ""), see(5, 6, "x")}, nil},
		{"refused write", H{put(1, 2, "x", 5, refused), see(3, 4, "")}, nil},
		{"another tab overtook the token", H{put(1, 3, "x", 5), put(2, 4, "y", 4), see(5, 6, "y")}, nil},
		{"the token that was answered last counts", H{put(1, 4, "x", 5), put(2, 3, "y", 4), see(5, 6, "y")}, G{ryw}},
		{"an answer without news overtakes nothing", H{put(1, 3, "x", 5), live(2, 4), see(5, 6, "")}, G{ryw}},
		{"a refusal overtakes nothing", H{put(1, 3, "x", 5), put(2, 4, "y", 6, refused), see(5, 6, "")}, G{ryw}},
	}
}

func ownDeletions() []scene {
	return []scene{
		{"own deletion is shown", H{put(1, 2, "x", 5), del(3, 4, 6), see(5, 6, "")}, nil},
		{"own deletion is not shown", H{put(1, 2, "x", 5), del(3, 4, 6), see(5, 6, "x")}, G{ryw}},
		{"a deletion to come is not why", H{del(1, 2, 3, by("d")), put(3, 4, "x", 5), see(5, 6, ""), del(7, 8, 9, by("d"))}, G{ryw}},
		{"a deletion before is why", H{put(1, 2, "x", 5), del(3, 4, 6, by("d")), see(5, 6, ""), del(7, 8, 9, by("d"))}, nil},
		{"a deletion under way may be why", H{put(1, 2, "x", 5), del(3, 9, 6, by("d"), ambiguous), see(5, 6, "")}, nil},
	}
}

func monotonicReads() []scene {
	return []scene{
		{"reads go on", H{put(1, 2, "x", 5, by("d")), put(1, 2, "y", 6, by("e")), see(3, 4, "x"), see(5, 6, "y", in(2))}, nil},
		{"reads go back", H{put(1, 2, "x", 5, by("d")), put(1, 2, "y", 6, by("e")), see(3, 4, "y"), see(5, 6, "x", in(2))}, G{mr}},
		{"reads go back, stale", H{put(1, 2, "x", 5, by("d")), put(1, 2, "y", 6, by("e")), see(3, 4, "y"), see(5, 6, "x", stale)}, nil},
		{"overlapping reads", H{put(1, 2, "x", 5, by("d")), put(1, 2, "y", 6, by("e")), see(3, 6, "y"), see(5, 8, "x")}, nil},
		{"two clients' reads", H{put(1, 2, "x", 5, by("d")), put(1, 2, "y", 6, by("e")), see(3, 4, "y"), see(5, 6, "x", by("f"))}, nil},
	}
}

func monotonicWrites() []scene {
	return []scene{
		{"writes go on", H{put(1, 2, "x", 5), put(3, 4, "y", 6, in(2))}, nil},
		{"writes go back", H{put(1, 2, "x", 5), put(3, 4, "y", 4, in(2))}, G{mw}},
		{"writes with one stamp", H{put(1, 2, "x", 5), put(3, 4, "y", 5, in(2))}, G{mw}},
		{"overlapping writes", H{put(1, 3, "x", 5), put(2, 4, "y", 4)}, nil},
		{"place unknown", H{put(1, 2, "x", 5), put(3, 4, "y", 0, unknown), see(5, 6, "y")}, nil},
	}
}

func writesFollowReads() []scene {
	return []scene{
		{"a write follows what was read", H{put(1, 2, "x", 5, by("d")), see(3, 4, "x"), put(5, 6, "y", 6)}, nil},
		{"a write before what was read", H{put(1, 2, "x", 5, by("d")), see(3, 4, "x"), put(5, 6, "y", 4)}, G{wfr}},
	}
}

func invented() []scene {
	return []scene{
		{"nobody wrote it", H{see(3, 4, "x")}, G{ni}},
		{"it was refused", H{put(1, 2, "x", 5, refused), see(3, 4, "x")}, G{ni}},
		{"shown before it was written", H{see(3, 4, "x"), put(5, 6, "x", 5)}, G{ni}},
		{"shown while it is written", H{see(3, 4, "x"), put(2, 6, "x", 5)}, nil},
		{"written twice", H{put(1, 2, "x", 5), put(3, 4, "x", 6)}, G{ni}},
	}
}

func ended() []scene {
	return []scene{
		{"ended", H{live(1, 2), at(3, 4, history.End, have(1)), at(5, 6, history.Read)}, nil},
		{"ended and shown", H{at(3, 4, history.End, have(1)), live(5, 6)}, G{nr}},
		{"ended and shown, stale or not", H{at(3, 4, history.End, have(1)), live(5, 6, stale)}, G{nr}},
		{"ended and shown to another", H{at(3, 4, history.End, have(1)), live(5, 6, by("d"))}, G{nr}},
		{"ended and shown elsewhere", H{at(3, 4, history.End, have(1)), live(5, 6, in(2))}, nil},
		{"ended by its log and shown elsewhere", H{at(3, 4, history.End, have(1, 2)), live(5, 6, in(2))}, G{nr}},
		{"ended as it is read", H{at(3, 5, history.End, have(1)), live(5, 6)}, nil},
		{"nobody knows whether it was ended", H{at(3, 4, history.End, have(1), ambiguous), live(5, 6)}, nil},
		{"converged", H{at(3, 4, history.End, have(1)), at(5, 7, history.Converged), live(8, 9, in(2))}, G{nr}},
		{"not converged yet", H{at(3, 4, history.End, have(1)), at(5, 7, history.Converged), live(7, 9, in(2))}, nil},
		{"converged before", H{at(1, 2, history.Converged), at(3, 4, history.End, have(1)), live(5, 6, in(2))}, nil},
	}
}

func revoked() []scene {
	return []scene{
		{"revoked", H{at(1, 2, history.Login, ann(1)), at(3, 4, history.Revoke, ann(0), have(1)), at(5, 6, history.Read)}, nil},
		{"revoked and shown", H{at(1, 2, history.Login, ann(1)), at(3, 4, history.Revoke, ann(0), have(1)), live(5, 6)}, G{nr}},
		{"revoked elsewhere", H{at(1, 2, history.Login, ann(1)), at(3, 4, history.Revoke, ann(0), have(2)), live(5, 6)}, nil},
		{"revoked while she logged in", H{at(3, 4, history.Revoke, ann(0), have(1)), at(5, 6, history.Login, ann(2)), live(7, 8)}, G{nr}},
		{"logged in anew", H{at(1, 2, history.Login, ann(1)), at(3, 4, history.Revoke, ann(0), have(1)), at(5, 6, history.Login, ann(5)), live(7, 8)}, nil},
		{"the login anew was refused", H{at(1, 2, history.Login, ann(1)), at(3, 4, history.Revoke, ann(0), have(1)), at(5, 6, history.Login, ann(5), refused), live(7, 8)}, G{nr}},
		{"began at the same time", H{at(3, 4, history.Revoke, ann(0), have(1)), at(5, 6, history.Login, ann(3)), live(7, 8)}, nil},
		{"revoked, converged and shown", H{at(1, 2, history.Login, ann(1)), at(3, 4, history.Revoke, ann(0), have(2)), at(5, 6, history.Converged), live(7, 8)}, G{nr}},
		{"a later revocation does not hide an earlier one", H{
			at(1, 2, history.Login, ann(1)), at(3, 4, history.Revoke, ann(0), have(1)), at(2, 5, history.Revoke, ann(0), have(1)), live(7, 8),
		}, G{nr}},
	}
}

func TestReport(t *testing.T) {
	events := []history.Event{
		put(1, 2, "x", 5), see(3, 4, "", stale), see(5, 6, "", lost),
		put(10, 13, "y", 8), put(11, 14, "z", 9),
		put(20, 21, "u", 0, unknown),
	}
	r := history.Check(events)
	if !r.OK() || r.Stale != 1 || r.Lost != 1 || r.Excused != 2 || r.Unordered != 1 || r.Overtaken != 1 || r.Events != 6 {
		t.Errorf("Check = %v, want 1 stale, 1 lost, 2 excused, 1 unordered, 1 overtaken of 6", r)
	}
	var many []history.Event
	for i := range int64(300) {
		many = append(many, see(10*i, 10*i+1, "nobody's"))
	}
	if r := history.Check(many); r.Broken != 300 || len(r.Violations) != 100 {
		t.Errorf("Check = %d broken, %d kept, want 300 and 100", r.Broken, len(r.Violations))
	}
	text := history.Check([]history.Event{put(1, 2, "x", 5), see(3, 4, "", in(2))}).String()
	for _, want := range []string{"1 broken", "read your writes: a is older", `client c, session s, Region 1: write a="x" at 5/1`, "Region 2: read live true no a"} {
		if !strings.Contains(text, want) {
			t.Errorf("report is\n%s\nwant %q in it", text, want)
		}
	}
}
