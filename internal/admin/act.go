package admin

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/roam-sessions/roam/internal/control"
	"github.com/roam-sessions/roam/internal/events"
	"github.com/roam-sessions/roam/internal/judge/routing"
	"github.com/roam-sessions/roam/internal/ledger"
)

// known returns what this member knows. What is agreed is taken from where it is known
// first, so that who has just changed something sees it.
func (a *api) known() control.Status {
	k := a.member.Status()
	if s, _ := a.member.State(); s.Index > k.State.Index {
		k.State = s
	}
	return k
}

// switchover plans one, if all that it needs is well.
func (a *api) switchover(c *call) (answer, error) {
	m, by, err := a.asked(c)
	if err != nil {
		return answer{}, err
	}
	if m.Force {
		return answer{}, &Problem{Kind: KindInvalid, Detail: "a planned switchover loses nothing, and can't be forced", Next: "mend what the checks say, or ask for a failover"}
	}
	out, err := a.check(c, m, true)
	if err != nil || m.DryRun {
		return answer{body: out}, err
	}
	if !out.OK {
		return answer{}, failed(out, m.To, "mend them and ask again")
	}
	s, err := a.member.Propose(c.Context(), ledger.Command{Plan: &ledger.Plan{To: m.To, By: by}})
	if err != nil {
		return answer{}, err
	}
	out.Begun, out.ID, out.Epoch = true, s.Handover.ID, s.Handover.Epoch
	return answer{status: http.StatusAccepted, body: out}, nil
}

// asked reads a Move.
func (a *api) asked(c *call) (m Move, by string, err error) {
	if err := c.json(&m); err != nil {
		return m, "", err
	}
	if m.To == "" {
		return m, "", &Problem{Kind: KindInvalid, Detail: "to: no Region is named", Next: "name the one that is to take the writes"}
	}
	by, err = c.by(m.By)
	return m, by, err
}

func (a *api) check(c *call, m Move, planned bool) (Moving, error) {
	checks, err := a.leading.Precheck(c.Context(), m.To, planned)
	if err != nil {
		return Moving{}, err
	}
	var out Moving
	out.Checks, out.OK = checksOf(checks)
	return out, nil
}

// failed tells which checks failed.
func failed(m Moving, to, next string) error {
	var bad []string
	for _, c := range m.Checks {
		if !c.OK {
			bad = append(bad, c.Name)
		}
	}
	return &Problem{
		Kind: KindChecks, Checks: m.Checks, Next: next,
		Detail: fmt.Sprintf("writes can't go to %s now: %s", to, strings.Join(bad, ", ")),
	}
}

// cancelSwitchover ends one that has not begun to drain.
func (a *api) cancelSwitchover(c *call) (answer, error) {
	var note By
	if err := c.json(&note); err != nil {
		return answer{}, err
	}
	by, err := c.by(note.By)
	if err != nil {
		return answer{}, err
	}
	s, _ := a.member.State()
	h := s.Handover
	if h.Step != ledger.Arming {
		return answer{}, &Problem{
			Kind: KindConflict, Detail: fmt.Sprintf("no switchover is arming: the last one is %q", h.Step),
			Next: "one that drains goes on to its end; then switch back",
		}
	}
	return a.propose(c, ledger.Command{Advance: &ledger.Advance{Epoch: h.Epoch, Step: ledger.Failed, Why: "cancelled by " + by}})
}

// propose has something agreed, and tells its index.
func (a *api) propose(c *call, what ledger.Command) (answer, error) {
	s, err := a.member.Propose(c.Context(), what)
	return answer{body: Done{Index: s.Index}}, err
}

// needed are the checks without which there can be no failover, forced or not.
func needed() []string { return []string{"lease", "region", "quorum"} }

// failover has the present epoch end, and the next be another Region's. It may lose what
// that Region does not have yet: a receipt tells.
func (a *api) failover(c *call) (answer, error) {
	m, by, err := a.asked(c)
	if err != nil {
		return answer{}, err
	}
	if m.Detach {
		if out, done, err := a.detach(c, m, by); done || err != nil {
			return out, err
		}
	}
	out, err := a.check(c, m, false)
	if err != nil || m.DryRun {
		return answer{body: out}, err
	}
	can := !slices.ContainsFunc(out.Checks, func(k Check) bool { return !k.OK && slices.Contains(needed(), k.Name) })
	switch {
	case !can:
		return answer{}, failed(out, m.To, "mend them and ask again: these can't be forced")
	case !out.OK && !m.Force:
		return answer{}, failed(out, m.To, "mend them and ask again, or set force and lose what the Region does not have")
	}
	lag, _, err := a.leading.Behind(c.Context(), m.To)
	if err != nil {
		return answer{}, err
	}
	s, _ := a.member.State()
	s, err = a.member.Propose(c.Context(), ledger.Command{Depose: &ledger.Depose{
		Epoch: s.Lease.Epoch, Wish: m.To, Why: "asked for by " + by, Lag: lag.Seconds(), Detach: m.Detach,
	}})
	if err != nil {
		return answer{}, err
	}
	out.Begun, out.Epoch = true, s.Newest+1
	return answer{status: http.StatusAccepted, body: out}, nil
}

// detach looks whether a server can be taken out of what manages it, and has that agreed if its
// Region holds the lease already; done: nothing else is to be.
func (a *api) detach(c *call, m Move, by string) (out answer, done bool, err error) {
	k := a.known()
	i := slices.IndexFunc(k.Members, func(s control.Seen) bool { return s.Member == m.To })
	switch {
	case i < 0 || k.Members[i].Server.Service == "":
		return out, false, &Problem{Kind: KindInvalid, Detail: fmt.Sprintf("nobody but its node manages the server of %s", m.To), Next: "ask without detach"}
	case !m.Force && !m.DryRun:
		return out, false, &Problem{Kind: KindInvalid, Detail: "the data part for good: what the primary has and this Region lacks comes back from its node alone", Next: "set force as well"}
	case k.State.Lease.Holder != m.To || m.DryRun:
		return out, false, nil
	}
	s, err := a.member.Propose(c.Context(), ledger.Command{Detach: &ledger.Detach{Epoch: k.State.Lease.Epoch, Region: m.To, By: by}})
	return answer{status: http.StatusAccepted, body: Moving{OK: true, Checks: []Check{}, Begun: err == nil, Epoch: s.Lease.Epoch}}, true, err
}

func (a *api) readmit(c *call) (answer, error) {
	var note By
	if err := c.json(&note); err != nil {
		return answer{}, err
	}
	by, err := c.by(note.By)
	if err != nil {
		return answer{}, err
	}
	region := c.PathValue("region")
	if s, _ := a.member.State(); !s.Has(region) {
		return answer{}, notFound(fmt.Sprintf("no Region is called %q", region))
	}
	return a.propose(c, ledger.Command{Readmit: &ledger.Readmit{Region: region, By: by}})
}

func (a *api) setMode(c *call) (answer, error) {
	var m Mode
	if err := c.json(&m); err != nil {
		return answer{}, err
	}
	by, err := c.by(m.By)
	if err != nil {
		return answer{}, err
	}
	return a.propose(c, ledger.Command{Steer: &ledger.Steer{Mode: m.Mode, By: by}})
}

func (a *api) setControls(c *call) (answer, error) {
	var all Changes
	if err := c.json(&all); err != nil {
		return answer{}, err
	}
	by, err := c.by(all.By)
	if err != nil {
		return answer{}, err
	}
	route := &ledger.Route{Override: all.Override, By: by}
	for _, ch := range all.Changes {
		route.Changes = append(route.Changes, routing.Change{Control: ch.Control, On: ch.On})
	}
	s, err := a.member.Propose(c.Context(), ledger.Command{Route: route})
	return answer{body: Controls{Index: s.Index, Controls: controlsOf(s), Rules: rulesOf(s)}}, err
}

// setTopology has another roam.yaml be agreed on, in the place of the version that whoever
// asks has seen.
func (a *api) setTopology(c *call) (answer, error) {
	tag := c.Header.Get("If-Match")
	if tag == "" {
		return answer{}, &Problem{Kind: KindNoVersion, Detail: "If-Match is missing", Next: "get the topology, and send its ETag as If-Match"}
	}
	file, err := c.text([]string{"application/yaml", "text/yaml", "application/x-yaml"}, maxFile)
	if err != nil {
		return answer{}, err
	}
	by, err := c.by(c.URL.Query().Get("by"))
	if err != nil {
		return answer{}, err
	}
	s, _ := a.member.State()
	was := s.Setup
	if tag != tagOf(was.Version) {
		return answer{}, &Problem{
			Kind: KindVersion, Detail: fmt.Sprintf("the present one is %s", tagOf(was.Version)), Next: "get it, make your change in it, and send it again",
		}
	}
	setup, err := a.Setup(file)
	if err != nil {
		return answer{}, &Problem{Kind: KindFaults, Detail: "nothing was changed", Next: "mend all of them, and send it again", Faults: faultsOf(err)}
	}
	setup.Version, setup.File = was.Version+1, string(file)
	dry, err := strconv.ParseBool(c.URL.Query().Get("dry_run"))
	if err != nil && c.URL.Query().Has("dry_run") {
		return answer{}, &Problem{Kind: KindRequest, Detail: "dry_run: want true or false", Next: "mend it, or leave it out"}
	}
	describe := ledger.Command{At: time.Now().UTC(), Describe: &ledger.Describe{Setup: setup, By: by}}
	if dry {
		_, err = s.Apply(s.Index+1, describe)
	} else {
		_, err = a.member.Propose(c.Context(), describe)
	}
	if err != nil {
		if errors.Is(err, ledger.ErrConflict) {
			return answer{}, &Problem{Kind: KindVersion, Detail: err.Error(), Next: "get it, make your change in it, and send it again"}
		}
		return answer{}, err
	}
	tag = tagOf(setup.Version)
	if dry {
		tag = tagOf(was.Version)
	}
	return answer{tag: tag, body: Topology{
		Version: setup.Version, Regions: some(setup.Regions), DryRun: dry,
		Added: without(setup.Regions, was.Regions), Removed: without(was.Regions, setup.Regions),
	}}, nil
}

// without returns those of some names that others do not have.
func without(names, others []string) []string {
	return some(slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(others, n) }))
}

// faultsOf returns all that an error says, one by one.
func faultsOf(err error) []string {
	var many interface{ Unwrap() []error }
	if errors.As(err, &many) {
		var out []string
		for _, e := range many.Unwrap() {
			out = append(out, faultsOf(e)...)
		}
		return out
	}
	return strings.Split(err.Error(), "\n")
}

func (a *api) testWebhook(c *call) (answer, error) {
	name := c.PathValue("name")
	if a.Hooks == nil {
		return answer{}, fmt.Errorf("%w: %q", events.ErrUnknown, name)
	}
	out, err := a.Hooks.Test(c.Context(), name)
	if err != nil {
		return answer{}, err
	}
	told := Tested{OK: out.Err == nil, Status: out.Status, TookMS: ms(out.Took)}
	if out.Err != nil {
		told.Error = out.Err.Error()
	}
	return answer{body: told}, nil
}
