package judge

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func second(n int) time.Time {
	return time.Date(2025, 10, 3, 12, 0, 0, 0, time.UTC).Add(time.Duration(n) * time.Second)
}

// The worst of a period counts: bad before good before missing.
func TestOnePeriodManyCalls(t *testing.T) {
	c := Config{}.withDefaults()
	h := Hysteresis{Bad: 1, Of: 1, Good: 1}
	for _, x := range []struct {
		points []point
		want   point
	}{
		{[]point{missing, missing}, missing},
		{[]point{missing, good}, good},
		{[]point{good, missing}, good},
		{[]point{good, bad}, bad},
		{[]point{bad, good}, bad},
		{[]point{bad, missing}, bad},
	} {
		s := Signal{}.next(x.points[0], 1, h, c, second(1)).next(x.points[1], 0, h, c, second(1))
		if s.last() != x.want || s.Bad&s.Good != 0 {
			t.Errorf("%v in one period: %+v says %v, want %v", x.points, s, s.last(), x.want)
		}
	}
}

// Periods in which nobody looked are missing: they are not in a row with anything.
func TestSkippedPeriods(t *testing.T) {
	c := Config{}.withDefaults()
	h := Hysteresis{Bad: 2, Of: 3, Good: 3}
	ill := Signal{}.next(bad, 1, h, c, second(1)).next(bad, 1, h, c, second(2))
	if !ill.On {
		t.Fatalf("two bad periods of three: %+v", ill)
	}
	if s := (Signal{}).next(bad, 1, h, c, second(1)).next(bad, 3, h, c, second(4)); s.On {
		t.Errorf("two bad periods of four: %+v", s)
	}
	if s := ill.next(good, 1, h, c, second(3)).next(good, 2, h, c, second(5)).next(good, 1, h, c, second(6)); !s.On {
		t.Errorf("three good periods with a hole: %+v", s)
	}
	if s := ill.next(missing, 40, h, c, second(42)); !s.silent() || !s.On {
		t.Errorf("after 40 periods: %+v, want nothing known and bad all the same", s)
	}
	if s := ill.next(missing, 40, h, c, second(42)).forget(second(42)); s.On || s.Ill || s.Since != second(42) {
		t.Errorf("forgotten: %+v", s)
	}
}

// A signal is what its definition says, reckoned from the whole story.
func TestSignalLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 32).Draw(t, "of")
		h := Hysteresis{Bad: rapid.IntRange(1, n).Draw(t, "bad"), Of: n, Good: rapid.IntRange(1, 32).Draw(t, "good")}
		c := Config{MaxFlaps: rapid.IntRange(1, 3).Draw(t, "flaps"), FlapWindow: 20 * time.Second}.withDefaults()
		var s Signal
		var story []point
		var ill, on bool
		var flaps []int
		for i := range rapid.IntRange(1, 100).Draw(t, "periods") {
			p := rapid.SampledFrom([]point{missing, good, bad, good, bad}).Draw(t, "point")
			story = append(story, p)
			s = s.next(p, 1, h, c, second(i))
			switch {
			case !ill && p == bad && count(story, h.Of, bad) >= h.Bad:
				ill = true
				flaps = append(flaps, i)
			case ill && count(story, h.Good, good) == h.Good:
				ill = false
			}
			k := len(flaps) - c.MaxFlaps
			on = ill || on && k >= 0 && i-flaps[k] < 20
			if s.Ill != ill || s.On != on {
				t.Fatalf("after %v by %+v: %+v, want ill %v, on %v", story, h, s, ill, on)
			}
		}
	})
}

func count(story []point, n int, what point) (found int) {
	for _, p := range story[max(0, len(story)-n):] {
		if p == what {
			found++
		}
	}
	return found
}
