package opener

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
)

// never is an engine that never opens.
func never(t *testing.T) *Lazy {
	l := NewLazy(t.Context(), "open it", Retry{}, func(context.Context) (engine.Engine, error) { return nil, engine.ErrUnreachable })
	t.Cleanup(func() { _ = l.Close() }) // never fails
	return l
}

// What is here is as old as the primary's news: none where nobody is asked or has
// answered, as old as now where it is this Region itself, and as old as it was when a
// primary stopped in a planned switchover, until the new one has answered.
func TestChase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, err := memory.New(1, memory.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = here.Close() }) // never fails
		c := NewChase(here, time.Second)
		want := func(what string, wantAge time.Duration, wantOK bool) {
			t.Helper()
			if age, ok := c.Heard(2); ok != wantOK || ok && age != wantAge {
				t.Errorf("%s: Heard = %v, %v, want %v, %v", what, age, ok, wantAge, wantOK)
			}
			if lag := c.Lag(2); lag != 0 {
				t.Errorf("%s: Lag = %v of what was never measured", what, lag)
			}
		}
		want("at first", 0, false)
		c.To(t.Context(), never(t), false)
		want("of one that never answered", 0, false)
		c.Own()
		want("of its own", 0, true)
		time.Sleep(time.Hour)
		want("of its own, later", 0, true)
		c.To(t.Context(), never(t), true)
		time.Sleep(time.Minute)
		want("a minute after another began", time.Minute, true)
		c.To(t.Context(), never(t), true)
		time.Sleep(time.Minute)
		want("and another", 2*time.Minute, true)
		c.To(t.Context(), never(t), false)
		want("of one that nobody knows when it began", 0, false)
		c.To(t.Context(), nil, true)
		want("of nobody", 0, false)
		c.To(t.Context(), never(t), true)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		c.Own()
		c.To(t.Context(), never(t), true) // nothing is begun that nobody would end
		want("after Close", 0, false)
	})
}
