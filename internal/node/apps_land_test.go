package node

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/deployment"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/admin"
	"github.com/roam-sessions/roam/internal/judge/alarm"
	"github.com/roam-sessions/roam/internal/ledger"
)

// A cable is a Region's engine as an application reaches it, or not.
type cable struct {
	engine.Engine
	cut *atomic.Bool
}

func (c cable) Read(ctx context.Context, k crdt.Key, seen crdt.Token) (crdt.Record, error) {
	if c.cut.Load() {
		return crdt.Record{}, engine.ErrUnreachable
	}
	return c.Engine.Read(ctx, k, seen)
}

// An application of west is asked all the time. When it reaches no Region any more, its
// users are refused, and an alarm of west says so; not one of east.
func TestDegradedShareAlarms(t *testing.T) {
	const alarms = `, alarms: [
    {name: degraded, metric: degraded-share, region: west, threshold: 0.5, period: 1s, periods: 1, missing: ignore},
    {name: elsewhere, metric: degraded-share, region: east, threshold: 0.5, period: 1s, periods: 1, missing: ignore}]`
	l := newCountry(t, activeActive, alarms, "{memory: {}}", "{memory: {}}", "{memory: {}}")
	l.startAll()
	hurry := l.nodes["west"].seat.apps
	hurry.mu.Lock()
	hurry.window = 100 * time.Millisecond
	hurry.mu.Unlock()

	var cut atomic.Bool
	store := l.application("west", &cut)
	asked, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for asked.Err() == nil {
			_, err := store.BeginAuth(asked, "ann")
			if refused := errors.Is(err, roam.ErrUnavailable); err != nil && !refused && asked.Err() == nil {
				t.Errorf("BeginAuth = %v, want nil or ErrUnavailable", err)
			}
			<-time.After(10 * time.Millisecond)
		}
	}()
	t.Cleanup(func() { stop(); <-done })
	state := func(name string, is alarm.State) func() bool {
		return func() bool { return l.alarm(name) == is }
	}
	eventually(t, "all is well", state("degraded", alarm.OK))
	cut.Store(true)
	eventually(t, "the alarm alarms", state("degraded", alarm.Alarming))
	s, _ := l.nodes["east"].seat.seated()
	eventually(t, "the event is told", func() bool {
		agreed, _ := s.State()
		for _, e := range agreed.Events {
			if e.Kind == ledger.KindAlarm && e.Region == "west" && strings.Contains(e.Text, "from OK to ALARM: degraded-share of west") {
				return true
			}
		}
		return false
	})
	eventually(t, "others tell it", func() bool {
		status := l.status("east")
		return status.Regions[0].DegradedShare != nil && *status.Regions[0].DegradedShare > 0.5 && status.Regions[1].DegradedShare == nil
	})
	_, metrics := get(t, l.nodes["west"].HTTP(), "/metrics")
	for _, want := range []string{
		`roam_apps{region="west"} 1`, `roam_apps{region="east"} 0`, `roam_app_answers_total{region="west",rung="refused"} `,
		`roam_app_degraded_share{region="west"} `,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %q", want)
		}
	}
	if got := l.alarm("elsewhere"); got != alarm.InsufficientData {
		t.Errorf("east's alarm is %s, of which nobody reports", got)
	}
}

// application opens a Store of a Region, as an application beside its node does; cut cuts
// it off from all engines.
func (l *land) application(name string, cut *atomic.Bool) *roam.Store {
	l.t.Helper()
	path := filepath.Join(l.dir, "roam.yaml")
	if err := os.WriteFile(path, []byte(l.text), 0o600); err != nil {
		l.t.Fatal(err)
	}
	o := deployment.Options{
		Feed: []string{"https://" + l.api(name) + "/v1/feed"}, FeedClient: l.visitor(name, name), Engines: map[string]engine.Engine{},
	}
	for _, other := range names() {
		o.Engines[other] = cable{l.engine(other), cut}
	}
	d, err := deployment.Open(l.t.Context(), path, name, o)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = d.Close() }) // of engines in memory, never fails
	store, err := roam.Open(l.t.Context(), d.Config())
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = store.Close() }) // never fails
	d.Attach(store)
	return store
}

// alarm returns what an alarm is, as the member that leads knows it.
func (l *land) alarm(name string) alarm.State {
	for _, n := range l.nodes {
		if m, _ := n.seat.seated(); m != nil {
			if s := m.Status(); s.Judged {
				return s.Watch.Alarms[name].State
			}
		}
	}
	return ""
}

// status returns what a node's admin API says, asked with a member's certificate.
func (l *land) status(name string) admin.Status {
	l.t.Helper()
	config := l.visitor("north", name).Transport.(*http.Transport).TLSClientConfig
	c, err := admin.NewClient(admin.ClientConfig{URLs: []string{"https://" + l.api(name)}, TLS: config.Clone()})
	if err != nil {
		l.t.Fatal(err)
	}
	defer c.Close()
	s, err := c.Status(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	return s
}
