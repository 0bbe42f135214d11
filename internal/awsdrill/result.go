package awsdrill

import (
	"fmt"
	"strings"
	"time"
)

// A Result is what a drill has found.
type Result struct {
	Promotion   time.Duration `json:"promotion"`
	Propagation time.Duration `json:"propagation"`
	Minute      time.Duration `json:"minute"`
	Shards      int           `json:"shards"`
	Rounds      []Round       `json:"rounds"`
}

// A Round is one move of the primary. Times are since FailoverGlobalReplicationGroup was called;
// a negative one: it did not come about in time.
type Round struct {
	To string `json:"to"`
	// Dark is a Region that was off the network; empty: none.
	Dark     string        `json:"dark,omitempty"`
	Promoted time.Duration `json:"promoted"` // ElastiCache says so
	// Asked is when the promoter had asked for it, where the primary's Region is what is dark.
	Asked time.Duration `json:"asked,omitempty"`
	Ran   time.Duration `json:"ran"` // the function of the promoted Region has said what it moved; not waited for with Dark
	Names []Move        `json:"names"`
	// Acknowledged are visits that shops answered well, in the round, and Lost those that their sessions do
	// not show: replication is asynchronous, and ElastiCache throws away what was on its way.
	Acknowledged int `json:"acknowledged"`
	Lost         int `json:"lost"`
	LoggedOut    int `json:"logged_out"` // visitors
}

// lost reports whether it was the primary's Region that was lost: then a promoter moves the primary,
// and what was on its way from there is lost.
func (r Round) lost() bool { return r.Dark != "" && r.Dark != global }

// A Move is what became of one name.
type Move struct {
	Name string `json:"name"`
	By   string `json:"by"`
	// Held: it is not to move while Dark is dark, and moves afterwards: Late is when, since
	// the Region is back.
	Held   bool                     `json:"held,omitempty"`
	Late   time.Duration            `json:"late,omitempty"`
	Led    time.Duration            `json:"led"`    // the name leads to the promoted Region
	Writes map[string]time.Duration `json:"writes"` // the shop of a Region writes again
}

// missed is a time of what did not come about.
const missed = time.Duration(-1)

// Broken returns what is not as it should be, in words.
func (r Result) Broken() []string {
	var out []string
	for _, round := range r.Rounds {
		broken := func(format string, args ...any) {
			out = append(out, "to "+round.To+": "+fmt.Sprintf(format, args...))
		}
		if round.Promoted < 0 {
			broken("ElastiCache has not promoted it")
		}
		if round.Ran < 0 && round.Dark != global {
			broken("its function has not reported that it moved anything")
		}
		if round.lost() && round.Asked <= 0 {
			broken("the promoter has not asked for it")
		}
		if round.LoggedOut > 0 {
			broken("%d visitors were logged out", round.LoggedOut)
		}
		if round.Acknowledged == 0 {
			broken("nobody has written")
		}
		for _, m := range round.Names {
			out = append(out, m.broken(round)...)
		}
	}
	return out
}

// broken returns what is not as it should be of one name.
func (m Move) broken(round Round) []string {
	var out []string
	broken := func(format string, args ...any) {
		out = append(out, "to "+round.To+": "+fmt.Sprintf(format, args...))
	}
	switch {
	case m.Held && m.Led >= 0:
		broken("%s has moved, and %s is dark", m.Name, round.Dark)
	case m.Held && m.Late <= 0:
		broken("%s has not moved after %s was back", m.Name, round.Dark)
	case !m.Held && m.Led < 0:
		broken("%s has not moved", m.Name)
	}
	for _, region := range regions() {
		if at, noted := m.Writes[region]; !noted || at < 0 {
			broken("the shop of %s at %s does not write", region, m.Name)
		}
	}
	return out
}

// Table returns the stages, for people.
func (r Result) Table() string {
	var b strings.Builder
	if r.Shards > 1 {
		fmt.Fprintf(&b, "Cluster mode is enabled, with %d shards in each Region. ", r.Shards)
	}
	fmt.Fprintf(&b, "ElastiCache takes %v, changes of records take %v, and a minute of alarms and schedules %v; at AWS a minute each.\n", r.Promotion, r.Propagation, r.Minute)
	for _, round := range r.Rounds {
		fmt.Fprintf(&b, "\nTo %s", round.To)
		switch {
		case round.lost():
			fmt.Fprintf(&b, ", as %s is lost: nobody asks for it but alarms and the promoter", round.Dark)
		case round.Dark != "":
			fmt.Fprintf(&b, ", with %s dark, and Route 53's control plane with it", round.Dark)
		}
		b.WriteString("\n\n| stage | after |\n|---|---|\n")
		row := func(at time.Duration, format string, args ...any) {
			text := "never"
			if at >= 0 {
				text = at.Round(10 * time.Millisecond).String()
			}
			fmt.Fprintf(&b, "| %s | %s |\n", fmt.Sprintf(format, args...), text)
		}
		if round.lost() {
			row(round.Asked, "alarms have woken the promoter, and it has asked ElastiCache")
		}
		row(round.Promoted, "ElastiCache has promoted it")
		if round.Dark != global {
			row(round.Ran, "its function has said what it moved")
		}
		for _, m := range round.Names {
			if m.Held {
				row(m.Led, "%s, by %s, leads there", m.Name, m.By)
				row(m.Late, "%s leads there, after %s is back", m.Name, round.Dark)
			} else {
				row(m.Led, "%s, by %s, leads there", m.Name, m.By)
			}
			for _, region := range regions() {
				text := "the shop of %s writes at %s again"
				if region == round.Dark {
					text += ", after the Region is back"
				}
				row(m.Writes[region], text, region, m.Name)
			}
		}
		fmt.Fprintf(&b, "\n%d visits were answered well, of which %d were on their way and lost; %d visitors were logged out.\n",
			round.Acknowledged, round.Lost, round.LoggedOut)
	}
	return b.String()
}
