package tally

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Each duration is below the bound of its bucket, and not below that of the one before: so
// what is told of it is at most a quarter too long.
func TestBuckets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		took := time.Duration(rapid.Int64Range(-1, int64(20*time.Second)).Draw(t, "took"))
		i := Bucket(took)
		if i < 0 || i >= Buckets {
			t.Fatalf("Bucket(%v) = %d of %d", took, i, Buckets)
		}
		if last := i == Buckets-1; !last && took >= Bound(i) || last && took < Bound(i) {
			t.Errorf("%v is in the bucket up to %v", took, Bound(i))
		}
		if i > 0 && took < Bound(i-1) {
			t.Errorf("%v is not in the bucket up to %v", took, Bound(i-1))
		}
	})
	for i := 1; i < Buckets-1; i++ {
		if Bound(i) <= Bound(i-1) || 4*Bound(i) > 5*Bound(i-1) {
			t.Errorf("bucket %d ends at %v, after one at %v", i, Bound(i), Bound(i-1))
		}
	}
	for took, want := range map[time.Duration]time.Duration{
		0: 1024 * time.Microsecond, time.Millisecond: 1024 * time.Microsecond,
		80 * time.Millisecond: 81920 * time.Microsecond, time.Minute: 8388608 * time.Microsecond,
	} {
		if got := Bound(Bucket(took)); got != want {
			t.Errorf("%v is told as %v, want %v", took, got, want)
		}
	}
}

func TestP99(t *testing.T) {
	for _, c := range []struct {
		quick, slow uint64
		want        time.Duration
	}{
		{0, 0, 0},
		{1, 0, Bound(0)},
		{0, 1, Bound(Bucket(time.Second))},
		{99, 1, Bound(0)},
		{98, 1, Bound(Bucket(time.Second))},
		{980, 10, Bound(Bucket(time.Second))},
		{990, 10, Bound(0)},
	} {
		var took Took
		took[0], took[Bucket(time.Second)] = c.quick, c.slow
		if got := took.P99(); got != c.want || took.Count() != c.quick+c.slow {
			t.Errorf("p99 of %d quick and %d slow ones = %v, want %v", c.quick, c.slow, got, c.want)
		}
	}
}

func drawCounts(t *rapid.T, what string) Counts {
	var c Counts
	for i := range c.Answers {
		c.Answers[i] = rapid.Uint64Range(0, 9).Draw(t, what)
	}
	for _, to := range rapid.SliceOfDistinct(rapid.SampledFrom([]string{"east", "west", "north"}), rapid.ID).Draw(t, what) {
		w := Writes{Failed: rapid.Uint64Range(0, 9).Draw(t, what)}
		w.Took[rapid.IntRange(0, Buckets-1).Draw(t, what)] = rapid.Uint64Range(1, 9).Draw(t, what)
		if c.Writes == nil {
			c.Writes = map[string]Writes{}
		}
		c.Writes[to] = w
	}
	return c
}

// What was told and what came since are together all that was counted.
func TestSinceAndPlus(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawCounts(t, "a"), drawCounts(t, "b")
		sum := a.Plus(b)
		if !reflect.DeepEqual(norm(sum), norm(b.Plus(a))) {
			t.Errorf("%v and %v are another sum the other way round", a, b)
		}
		if got := sum.Since(a); !reflect.DeepEqual(norm(got), norm(b)) {
			t.Errorf("since %v, %v = %v, want %v", a, sum, got, b)
		}
		if !a.Since(sum).IsZero() || !a.Since(a).IsZero() || sum.IsZero() != (a.IsZero() && b.IsZero()) {
			t.Errorf("nothing was counted since more of it")
		}
	})
	c := Counts{Answers: [Rungs]uint64{5, 1, 2, 3, 4}}
	if all, degraded := c.All(); all != 15 || degraded != 10 {
		t.Errorf("All = %d, %d, want 15, of which 10 degraded", all, degraded)
	}
	if (Counts{Writes: map[string]Writes{"east": {Failed: 1}}}).IsZero() {
		t.Error("a failed write is something")
	}
}

// norm has no empty map.
func norm(c Counts) Counts {
	if len(c.Writes) == 0 {
		c.Writes = nil
	}
	return c
}
