package judge_test

import (
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/judge"
)

func TestNewFindsAllFaults(t *testing.T) {
	_, err := judge.New(judge.Config{
		Regions: []string{"a", "a", ""}, Witnesses: make([]string, 16), Barred: []string{"b"}, Mode: "bold",
		Period: time.Second, Fresh: time.Millisecond, Lost: judge.Hysteresis{Bad: 3, Of: 2, Good: 1},
		Impaired: judge.Hysteresis{Bad: 1, Of: 33, Good: 0}, MaxLag: -1, MaxClock: -1, Stale: -1, SlowWrites: -1,
		Cooldown: -1, Window: -1, Attempt: -1, FlapWindow: -1, FailedShare: 1.5, LostShare: -1, MinWrites: -1,
		MaxFailovers: 33, MaxFlaps: -1,
	})
	if err == nil {
		t.Fatal("New took what makes no sense")
	}
	for _, want := range []string{
		`member "a": there are two`, "a member without a name", "16 witnesses", `barred "b"`, `mode "bold"`, "fresh 1ms",
		"lost {Bad:3 Of:2 Good:1}", "impaired {Bad:1 Of:33 Good:0}", "max lag", "max clock", "stale", "slow writes", "cooldown",
		"window", "attempt", "flap window", "failed share 1.5", "lost share -1", "min writes -1", "max failovers 33", "max flaps -1",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("New = %v, want it to say %q", err, want)
		}
	}
	for _, regions := range [][]string{nil, make([]string, 16)} {
		if _, err := judge.New(judge.Config{Regions: regions}); err == nil || !strings.Contains(err.Error(), "Regions: want 1 to 15") {
			t.Errorf("New of %d Regions = %v", len(regions), err)
		}
	}
}

func TestDefaults(t *testing.T) {
	rules, err := judge.New(judge.Config{Regions: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	c := rules.Config()
	if c.Mode != judge.Automatic || c.Period != time.Second || c.Cooldown != 10*time.Minute || c.MaxLag != time.Second ||
		c.Lost != (judge.Hysteresis{Bad: 3, Of: 5, Good: 10}) || c.MaxFailovers != 3 || c.Window != 6*time.Hour {
		t.Errorf("defaults %+v are not those of docs/judge.md", c)
	}
}
