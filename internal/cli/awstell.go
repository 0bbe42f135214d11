package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/roam-sessions/roam/internal/awsdeploy"
)

// An awsTeller tells of what happens on AWS: lines of JSON, lines for people, and on a terminal also how long
// the step takes that goes on, on a line that is taken back.
type awsTeller struct {
	out  io.Writer
	json bool
	live bool
	stop chan struct{}
	work sync.WaitGroup

	mu    sync.Mutex // guards what follows, and writing
	now   string     // the step that goes on; empty: none
	begun time.Time
	busy  map[string]bool // resources that CloudFormation is at
	ended bool
}

// newAWSTeller returns what tells. People are talked to; JSON is a result.
func newAWSTeller(c *cobra.Command, asJSON bool) *awsTeller {
	t := &awsTeller{out: c.ErrOrStderr(), json: asJSON, stop: make(chan struct{}), busy: map[string]bool{}}
	if asJSON {
		t.out = c.OutOrStdout()
		return t
	}
	if t.live = isTerminal(t.out); t.live {
		t.work.Go(t.tick)
	}
	return t
}

// tick says, each second, how long a step has taken.
func (t *awsTeller) tick() {
	every := time.NewTicker(time.Second)
	defer every.Stop()
	for {
		select {
		case <-t.stop:
			return
		case <-every.C:
			t.mu.Lock()
			t.draw()
			t.mu.Unlock()
		}
	}
}

// draw writes the line that is taken back. Callers hold mu.
func (t *awsTeller) draw() {
	if t.live && t.now != "" {
		_, _ = fmt.Fprintf(t.out, clearLine+"%s  %s, %d in progress", t.now, clockOf(time.Since(t.begun)), len(t.busy)) // a terminal that is gone reads nothing
	}
}

// clockOf is a duration as clocks show it: 4:05.
func clockOf(d time.Duration) string {
	s := int(d.Seconds())
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// tell tells of one event.
func (t *awsTeller) tell(e awsdeploy.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.json {
		_ = jsonLine(t.out, e) // whoever reads no more is told nothing more
		return
	}
	line := t.line(e)
	if line == "" {
		return
	}
	if t.live {
		line = clearLine + line
	}
	_, _ = fmt.Fprintln(t.out, line) // as above
	t.draw()
}

// line returns what is said of an event; empty: nothing.
func (t *awsTeller) line(e awsdeploy.Event) string {
	at := fmt.Sprintf("[%*d/%d]", len(fmt.Sprint(e.Steps)), e.Step, e.Steps)
	what := strings.TrimSpace(e.Region + " " + e.Stack)
	if e.Do != "stack" {
		what = strings.TrimSpace(what + " " + strings.ReplaceAll(e.Do, "-", " "))
	}
	switch e.Kind {
	case awsdeploy.Begun:
		t.now, t.begun = at+" "+what, e.At
		clear(t.busy)
		return at + " " + what + ": " + e.Text
	case awsdeploy.Resource:
		status := strings.ToLower(strings.ReplaceAll(e.Status, "_", " "))
		if strings.HasSuffix(e.Status, "_IN_PROGRESS") {
			t.busy[e.Resource] = true
			if t.live {
				return "" // the line that is taken back counts it
			}
		} else {
			delete(t.busy, e.Resource)
		}
		line := fmt.Sprintf("%s   %s  %s (%s)", at, status, e.Resource, e.Type)
		if e.Text != "" {
			line += ": " + e.Text
		}
		return line
	case awsdeploy.Done, awsdeploy.Failed:
		t.now = ""
		if e.Kind == awsdeploy.Failed {
			return fmt.Sprintf("%s failed after %s", at, clockOf(seconds(e.Took))) // why is told at the end
		}
		return fmt.Sprintf("%s %s after %s", at, e.Text, clockOf(seconds(e.Took)))
	}
	return at + "   " + e.Text
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// end takes back what was said on the line, and returns when nothing more will be.
func (t *awsTeller) end() {
	t.mu.Lock()
	if t.ended {
		t.mu.Unlock()
		return
	}
	t.ended = true
	if t.live && t.now != "" {
		_, _ = io.WriteString(t.out, clearLine)
	}
	t.now = ""
	t.mu.Unlock()
	close(t.stop)
	t.work.Wait()
}
