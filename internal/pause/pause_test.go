package pause

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if !For(t.Context(), time.Minute) || time.Since(began) != time.Minute {
			t.Errorf("it lasted %v, want a minute", time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if began = time.Now(); For(ctx, time.Minute) || time.Since(began) != time.Second {
			t.Errorf("it lasted %v, want the second of its context, and false", time.Since(began))
		}
		if For(ctx, 0) || For(ctx, -time.Second) {
			t.Error("a context that has ended lets nothing pass")
		}
		if !For(t.Context(), -time.Second) {
			t.Error("nothing to wait for, and false")
		}
	})
}

func TestAbout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := map[time.Duration]bool{}
		for range 100 {
			began := time.Now()
			if !About(t.Context(), time.Minute) {
				t.Fatal("nobody ended it")
			}
			took := time.Since(began)
			if took < 30*time.Second || took > 90*time.Second {
				t.Errorf("about a minute was %v", took)
			}
			seen[took] = true
		}
		if len(seen) < 90 {
			t.Errorf("100 waits were of %d lengths: they are to differ", len(seen))
		}
	})
}

func TestDoubled(t *testing.T) {
	for try, want := range map[int]time.Duration{
		-1: time.Second, 0: time.Second, 1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 4: 5 * time.Second, 5: 5 * time.Second, 1 << 40: 5 * time.Second,
	} {
		if got := Doubled(time.Second, 5*time.Second, try); got != want {
			t.Errorf("after try %d: %v, want %v", try, got, want)
		}
	}
	if got := Doubled(time.Minute, time.Second, 1); got != time.Second {
		t.Errorf("most is less than least: %v, want most", got)
	}
}
