package awslambda

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/roam-sessions/roam/internal/elasticache"
)

// Rules say when a promoter promotes its Region.
type Rules struct {
	// Alarms are the names of those that are looked at, Need how many of them must alarm.
	// They should be of independent signals: what users see, and what servers do.
	Alarms []string
	Need   int
	// Patience is how long each must have been alarming. Regions that are to come second
	// have more of it than those that come first.
	Patience time.Duration
	// LagLimit is how far behind the primary this Region may be, by what was measured last,
	// no longer ago than LagAge. Force has neither asked.
	LagLimit, LagAge time.Duration
	Force            bool
	// Cooldown is how long after a promotion there is no other.
	Cooldown time.Duration
}

// A Sight is all that a promoter knows when it decides.
type Sight struct {
	Now    time.Time
	Switch string // the kill switch: "on", "dry-run", or anything else
	Memory *Memory
	View   elasticache.View
	Alarms []Alarm // those that were found
	Lag    *Lag    // the last that was measured; nil: none was
}

// An Alarm is what CloudWatch says of one.
type Alarm struct {
	Name  string
	State string    // ALARM, OK or INSUFFICIENT_DATA
	Since time.Time // when it got there
}

// A Lag is how far a secondary was behind.
type Lag struct {
	Behind time.Duration
	At     time.Time
}

// A Memory is what a promoter knows of earlier. An operator who deletes it readmits the Region.
type Memory struct {
	// Role is the last that was seen of this Region's group.
	Role string `json:"role"`
	// Lost is when this Region was seen not to be the primary any more. Such a Region is
	// promoted by people only: nothing goes back by itself.
	Lost time.Time `json:"lost,omitzero"`
	// Promoted is when the promoter last promoted it, or was about to.
	Promoted time.Time `json:"promoted,omitzero"`
}

// ParseMemory reads what a promoter remembers. It takes what String returns, fields that a later
// version may have added included.
func ParseMemory(text string) (Memory, error) {
	var m Memory
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return Memory{}, fmt.Errorf("read the memory: %w", err)
	}
	if !slices.Contains([]string{"", "PRIMARY", "SECONDARY"}, m.Role) {
		return Memory{}, fmt.Errorf("read the memory: role %q", m.Role)
	}
	return m, nil
}

// String returns a memory as ParseMemory reads it.
func (m Memory) String() string {
	m.Lost, m.Promoted = m.Lost.UTC(), m.Promoted.UTC()
	raw, err := json.Marshal(m)
	if err != nil {
		return "" // a moment beyond the year 9999; it is read as no memory
	}
	return string(raw)
}

// A Judgment is what a promoter does.
type Judgment struct {
	Promote bool
	Dry     bool // all rules say so, and the switch says not to
	Rule    string
	Reason  string
	Memory  *Memory // to be kept before anything is done; nil: as it was
}

// Judge decides whether to promote a place's Region. The first rule that forbids it is told;
// what is not known forbids it too.
func Judge(s Sight, r Rules, p Place) Judgment {
	var j Judgment
	role := strings.ToUpper(s.View.Role)
	if s.Memory != nil && role != "" && role != s.Memory.Role {
		next := *s.Memory
		if next.Role == "PRIMARY" {
			next.Lost = s.Now
		}
		next.Role = role
		s.Memory, j.Memory = &next, &next
	}
	if j.Rule, j.Reason = place(s, role, p); j.Rule != "" {
		return j
	}
	if j.Rule, j.Reason = r.forbid(s); j.Rule != "" {
		return j
	}
	if s.Switch != "on" {
		j.Dry, j.Rule, j.Reason = true, "switch", "a dry run: all rules say so"
		return j
	}
	next := *s.Memory
	next.Promoted = s.Now
	j.Promote, j.Reason, j.Memory = true, "all rules say so", &next
	return j
}

// place returns the rule by which a Region is none to be promoted at all, with its reason;
// empty: it may be.
func place(s Sight, role string, p Place) (rule, reason string) {
	switch {
	case s.Memory == nil:
		return "memory", "what was done before is not known"
	case role == "PRIMARY":
		return "role", p.Group + " is the primary"
	case role != "SECONDARY" || !strings.EqualFold(s.View.Global, p.Global):
		return "role", fmt.Sprintf("%s is %q in Global Datastore %q", p.Group, s.View.Role, s.View.Global)
	case s.Switch != "on" && s.Switch != "dry-run":
		return "switch", fmt.Sprintf("the switch is %q", s.Switch)
	case !s.Memory.Lost.IsZero():
		return "lost", "this Region stopped being the primary at " + stamp(s.Memory.Lost) + ": an operator readmits it"
	case !s.View.GlobalFound || s.View.GlobalStatus != "available":
		return "global", fmt.Sprintf("the Global Datastore is %q", s.View.GlobalStatus)
	case !member(s.View.Members, p):
		return "global", fmt.Sprintf("the Global Datastore says %v", s.View.Members)
	}
	return "", ""
}

// forbid returns the rule by which now is no time to promote, with its reason; empty: it is.
func (r Rules) forbid(s Sight) (rule, reason string) {
	if alarming := r.alarming(s); len(alarming) < r.Need {
		return "alarms", fmt.Sprintf("%d of %d alarm for %v: %v", len(alarming), r.Need, r.Patience, alarming)
	}
	if why := r.behind(s); why != "" && !r.Force {
		return "lag", why
	}
	if last := s.Memory.Promoted; !last.IsZero() && s.Now.Before(last.Add(r.Cooldown)) {
		return "cooldown", "there was a promotion at " + stamp(last)
	}
	return "", ""
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// member reports whether a place's group is a secondary of a Global Datastore that has another
// primary.
func member(members []elasticache.Member, p Place) bool {
	ours, primary := false, false
	for _, m := range members {
		ours = ours || m.Group == p.Group && m.Region == p.Region && strings.EqualFold(m.Role, "SECONDARY")
		primary = primary || strings.EqualFold(m.Role, "PRIMARY")
	}
	return ours && primary
}

// alarming returns the names of alarms that alarm and have for long enough. One that is not
// found, or has no data, does not: silence is no proof.
func (r Rules) alarming(s Sight) []string {
	var out []string
	for _, a := range s.Alarms {
		if a.State == "ALARM" && !a.Since.IsZero() && !s.Now.Before(a.Since.Add(r.Patience)) && slices.Contains(r.Alarms, a.Name) && !slices.Contains(out, a.Name) {
			out = append(out, a.Name)
		}
	}
	return out
}

// behind says what is wrong with the lag; empty: nothing.
func (r Rules) behind(s Sight) string {
	switch {
	case s.Lag == nil:
		return "how far this Region is behind is not known"
	case s.Now.Sub(s.Lag.At) > r.LagAge:
		return fmt.Sprintf("how far this Region is behind was last measured at %s", stamp(s.Lag.At))
	case s.Lag.Behind > r.LagLimit:
		return fmt.Sprintf("this Region is %v behind, at most %v", s.Lag.Behind, r.LagLimit)
	}
	return ""
}
