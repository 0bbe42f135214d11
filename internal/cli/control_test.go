package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/admin"
)

// A council is a deployment in one folder, run by commands: members by "roam node" and
// "roam witness", and what is asked of them.
type council struct {
	*testing.T
	dir   string
	ports []string
	said  talk
	wg    sync.WaitGroup
	stops map[string]context.CancelFunc
}

func newCouncil(t *testing.T) *council {
	t.Helper()
	c := &council{T: t, dir: t.TempDir(), stops: map[string]context.CancelFunc{}}
	for range 20 {
		c.ports = append(c.ports, free(t))
	}
	t.Cleanup(func() {
		for _, stop := range c.stops {
			stop()
		}
		c.wg.Wait()
		if t.Failed() {
			t.Logf("they said:\n%s", &c.said)
		}
	})
	return c
}

// file writes the deployment of some Regions, and witnesses where they are even.
func (c *council) file(name string, regions ...string) string {
	c.Helper()
	var b strings.Builder
	b.WriteString("version: 1\nname: sessions\ntopology: active-active\nregions:\n")
	for _, r := range regions {
		i := int(r[len(r)-1]-'1') * 4
		fmt.Fprintf(&b, "  - {name: %s, id: %c, engine: {memory: {}}, node: {links: %q, http: %q, control: %q, api: %q}}\n",
			r, r[len(r)-1], c.ports[i], c.ports[i+1], c.ports[i+2], c.ports[i+3])
	}
	b.WriteString("control:\n  dir: \"data/{region}\"\n")
	b.WriteString("  routing: {controls: [{name: users-1, region: region-1}], rules: [{name: some, controls: [users-1], type: ATLEAST, threshold: 1}]}\n")
	if len(regions)%2 == 0 {
		fmt.Fprintf(&b, "  witnesses: [{name: witness-1, id: 16, control: %q, api: %q}]\n", c.ports[16], c.ports[17])
	}
	path := filepath.Join(c.dir, name)
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		c.Fatal(err)
	}
	return path
}

// runs runs a command until the test is over.
func (c *council) runs(as string, args ...string) {
	ctx, stop := context.WithCancel(context.WithoutCancel(c.Context()))
	c.stops[as] = stop
	c.wg.Go(func() {
		if code := Run(ctx, args, &c.said, &c.said); code != exitOK {
			c.Errorf("roam %q ended with %d", args, code)
		}
	})
}

// asks runs a command to its end, and returns what it printed.
func (c *council) asks(code int, args ...string) string {
	c.Helper()
	var out, talk bytes.Buffer
	if got := Run(c.Context(), args, &out, &talk); got != code {
		c.Fatalf("roam %q ended with %d, want %d; it said:\n%s%s", args, got, code, &out, &talk)
	}
	return out.String() + talk.String()
}

// status returns what members know, when it is as it should be.
func (c *council) status(config, what string, is func(admin.Status) bool) (s admin.Status) {
	c.Helper()
	soon(c.T, what, func() bool {
		var out, talk bytes.Buffer
		if Run(c.Context(), []string{"status", "--json", "--config", config}, &out, &talk) != exitOK {
			return false
		}
		s = admin.Status{}
		return json.Unmarshal(out.Bytes(), &s) == nil && is(s)
	})
	return s
}

// A deployment of one Region becomes one of three, while it runs, and then one of two with
// a witness. What is asked of members is said as tables and as JSON.
func TestADeploymentGrowsAndShrinks(t *testing.T) {
	c := newCouncil(t)
	one := c.file("one.yaml", "region-1")
	c.runs("region-1", "node", "--config", one, "--region", "region-1")
	c.status(one, "region-1 is alone", func(s admin.Status) bool { return s.Leader == "region-1" && s.Topology == 1 && len(s.Regions) == 1 })

	two := c.file("two.yaml", "region-1", "region-2")
	if text := c.asks(exitOK, "region", "add", "region-2", "--config", two, "--dry-run"); !strings.Contains(text, "version 2, if it were done") {
		t.Errorf("a dry run says %q", text)
	}
	c.asks(exitUsage, "region", "remove", "region-2", "--config", two)
	c.asks(exitOK, "region", "add", "region-2", "--config", two)
	c.runs("region-2", "node", "--config", two, "--region", "region-2")
	c.runs("witness-1", "witness", "--config", two, "--name", "witness-1")
	all := func(n int) func(admin.Status) bool {
		return func(s admin.Status) bool {
			heard := 0
			for _, m := range s.Members {
				if time.Since(m.Heard) < 3*time.Second {
					heard++
				}
			}
			return heard == n && len(s.Members) == n && s.Leader != ""
		}
	}
	c.status(two, "all three members take part", all(3))

	three := c.file("three.yaml", "region-1", "region-2", "region-3")
	c.asks(exitOK, "region", "add", "region-3", "--config", three)
	c.runs("region-3", "node", "--config", three, "--region", "region-3")
	c.status(three, "the third Region takes the witness's place, and all engines are up", func(s admin.Status) bool {
		down := slices.ContainsFunc(s.Regions, func(r admin.Region) bool { return !r.Engine })
		return all(3)(s) && len(s.Regions) == 3 && !down
	})

	soon(t, "nobody is starting again any more", func() bool {
		return Run(t.Context(), []string{"mode", "advise", "--config", three}, io.Discard, io.Discard) == exitOK
	})
	c.tellsWhatIsAsked(three)
	c.isLookedAt(one, three)
}

// isLookedAt has "roam check" look at a deployment of three Regions that was one of one.
func (c *council) isLookedAt(one, three string) {
	c.Helper()
	var out bytes.Buffer
	defer func() {
		if c.Failed() {
			c.Logf("it found\n%s", out.String())
		}
	}()
	again := time.NewTicker(500 * time.Millisecond) // it asks everybody everything
	defer again.Stop()
	soon(c.T, "roam check finds that all is well with the control plane", func() bool {
		<-again.C
		out.Reset()
		code := Run(c.Context(), []string{"check", three}, &out, io.Discard)
		return code == exitOK && !slices.ContainsFunc([]string{
			"control  3 of 3 members take part: the loss of 1 more is borne", "region-2  control  it answers, and hears region-1 and region-3",
			" leads\n", "this file is version 3, which members agreed on", "the judge is on advise", "all members are on one machine",
		}, func(want string) bool { return !strings.Contains(out.String(), want) })
	})
	var found struct {
		Rows []struct{ State, Part, Seen string }
	}
	if err := json.Unmarshal([]byte(c.asks(exitOK, "check", "--json", one)), &found); err != nil {
		c.Fatal(err)
	}
	if !slices.ContainsFunc(found.Rows, func(r struct{ State, Part, Seen string }) bool {
		return r.State == "warn" && r.Part == "control" && strings.Contains(r.Seen, "this file is not version 3, by which members go: it lacks region-2")
	}) {
		c.Errorf("the file of before: %+v, want that members go by another", found.Rows)
	}
}

// tellsWhatIsAsked asks about a deployment of three Regions that was one of one.
func (c *council) tellsWhatIsAsked(three string) {
	c.Helper()
	c.asks(exitOK, "controls", "users-1=on", "--config", three)
	if text := c.asks(exitFailed, "controls", "users-1=off", "--config", three); !strings.Contains(text, "some") {
		c.Errorf("a safety rule that forbids is not named: %q", text)
	}
	if text := c.asks(exitOK, "controls", "--config", three); !strings.Contains(text, "users-1  region-1  users  on") {
		c.Errorf("the controls are %q", text)
	}
	text := c.asks(exitOK, "status", "--config", three)
	for _, want := range []string{"all Regions take writes", "the judge is on advise", "region-3  peer"} {
		if !strings.Contains(text, want) {
			c.Errorf("the status lacks %q:\n%s", want, text)
		}
	}
	text = c.asks(exitOK, "events", "--config", three)
	for _, want := range []string{"a deployment of 1 Regions", "version 2: other settings, with region-2", "version 3", "users-1 on"} {
		if !strings.Contains(text, want) {
			c.Errorf("the events lack %q:\n%s", want, text)
		}
	}
	if text := c.asks(exitFailed, "switchover", "--to", "region-2", "--config", three); !strings.Contains(text, "active-passive") {
		c.Errorf("a switchover where all Regions write: %q", text)
	}
	if text := c.asks(exitOK, "receipts", "--config", three); !strings.Contains(text, "no failover") {
		c.Errorf("the receipts are %q", text)
	}
}
