package node

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/judge/alarm"
)

// A slow engine answers after a while: that there is no such record, or not at all.
type slow struct {
	engine.Engine
	takes time.Duration
	fails bool
}

func (s *slow) Apply(ctx context.Context, _ crdt.Key, _ crdt.Op) (crdt.Dot, error) {
	select {
	case <-ctx.Done():
		return crdt.Dot{}, engine.ErrUnavailable
	case <-time.After(s.takes):
	}
	if s.fails {
		return crdt.Dot{}, engine.ErrNotPrimary
	}
	return crdt.Dot{}, crdt.ErrAbsent
}

// What a write has to pass is measured without writing: its time, and whether it was let
// through. One that does not answer has failed.
func TestCanary(t *testing.T) {
	for _, c := range []struct {
		engine slow
		failed bool
		p99    time.Duration
	}{
		{engine: slow{takes: 80 * time.Millisecond}, p99: 80 * time.Millisecond},
		{engine: slow{takes: 5 * time.Millisecond, fails: true}, failed: true, p99: 5 * time.Millisecond},
		{engine: slow{takes: time.Hour}, failed: true, p99: canaryTimeout},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			sings := newCanary(1)
			done := make(chan struct{})
			go func() { defer close(done); sings.sing(ctx, "west", &c.engine) }()
			time.Sleep(3 * time.Second)
			synctest.Wait() // what ends in this moment is measured with it
			m := sings.measured(time.Now(), "east")
			cancel()
			<-done
			if len(m.Writes) != 1 || len(m.Data) != 2 {
				t.Fatalf("measured %+v, want writes to one Region and two figures", m)
			}
			w := m.Writes[0]
			if w.To != "west" || w.Count < 40 || (w.Failed == w.Count) != c.failed || w.Failed > 0 != c.failed || w.P99 != c.p99 {
				t.Errorf("%+v: writes %+v, want failed %v, p99 %v", c.engine, w, c.failed, c.p99)
			}
			share := map[bool]float64{true: 1}[c.failed]
			want := []alarm.Datum{
				{Metric: alarm.WriteP99, Region: "west", From: "east", At: m.Data[0].At, Value: float64(c.p99.Milliseconds())},
				{Metric: alarm.ErrorRate, Region: "west", From: "east", At: m.Data[0].At, Value: share},
			}
			for i := range want {
				if m.Data[i] != want[i] {
					t.Errorf("figure %+v, want %+v", m.Data[i], want[i])
				}
			}
			if again := sings.measured(time.Now(), "east"); len(again.Writes) != 0 {
				t.Errorf("measured twice: %+v", again.Writes)
			}
		})
	}
}
