package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/roam-sessions/roam/internal/control"
	"github.com/roam-sessions/roam/internal/events"
	"github.com/roam-sessions/roam/internal/judge/routing"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/quorum"
)

// typeBase is before the name of a kind in a problem's type. docs/api.md has each.
const typeBase = "https://github.com/roam-sessions/roam/blob/main/docs/api.md#"

// A Kind is what a Problem is. Callers act on it, and not on texts.
type Kind string

// The kinds of problems.
const (
	KindUnauthorized Kind = "unauthorized" // nobody is let in so
	KindForbidden    Kind = "forbidden"    // somebody else may
	KindTooMany      Kind = "too-many"     // come later
	KindNotFound     Kind = "not-found"    // there is none of that name
	KindElsewhere    Kind = "elsewhere"    // another member has it
	KindMethod       Kind = "method"       // it is not asked for like that
	KindRequest      Kind = "bad-request"  // the request can't be read
	KindTooLarge     Kind = "too-large"    // it is too long
	KindMedia        Kind = "media-type"   // it is not JSON, or not YAML
	KindInvalid      Kind = "invalid"      // it makes no sense
	KindFaults       Kind = "faults"       // a roam.yaml has faults
	KindBusy         Kind = "busy"         // a switchover is under way
	KindConflict     Kind = "conflict"     // something has changed meanwhile, or stands against it
	KindChecks       Kind = "checks"       // the checks before it fail
	KindRules        Kind = "rules"        // a safety rule forbids it
	KindLease        Kind = "lease"        // another Region holds the lease
	KindVersion      Kind = "version"      // the topology is of another version
	KindNoVersion    Kind = "no-version"   // it must be said which version is to be replaced
	KindNotLeader    Kind = "not-leader"   // ask the member that leads
	KindUnavailable  Kind = "unavailable"  // nothing was done: no majority can be reached
	KindUnknown      Kind = "unknown"      // nobody knows whether it was done
	KindInternal     Kind = "internal"     // it is our fault
)

// A Problem is an error as it is told, by RFC 9457.
type Problem struct {
	Kind   Kind   `json:"-"`
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Next   string `json:"next"` // what to do

	Leader    string   `json:"leader,omitempty"`     // the member that leads; of not-leader
	LeaderURL string   `json:"leader_url,omitempty"` // where it is asked
	Keeper    string   `json:"keeper,omitempty"`     // the member that has it; of elsewhere
	KeeperURL string   `json:"keeper_url,omitempty"` // where it is asked
	Rules     []string `json:"rules,omitempty"`      // the safety rules that forbid it
	Checks    []Check  `json:"checks,omitempty"`     // all of them; of checks
	Faults    []string `json:"faults,omitempty"`     // of a roam.yaml, with their lines
	// RetryAt is when waiting alone will have helped; left out: it does not help.
	RetryAt time.Time `json:"retry_at,omitzero"`

	// After is for the header Retry-After; Allow and Authenticate for those.
	After time.Duration `json:"-"`
	Allow []string      `json:"-"`
}

// Error says what the problem is and what to do.
func (p *Problem) Error() string {
	if p.Next == "" {
		return p.Detail
	}
	return p.Detail + "; " + p.Next
}

// A sort is what all problems of a kind have in common.
type sort struct {
	status int
	title  string
}

func sortOf(k Kind) sort {
	s, ok := map[Kind]sort{
		KindUnauthorized: {http.StatusUnauthorized, "Nobody is let in like this"},
		KindForbidden:    {http.StatusForbidden, "Somebody else may do that"},
		KindTooMany:      {http.StatusTooManyRequests, "Too many ask"},
		KindNotFound:     {http.StatusNotFound, "There is no such thing"},
		KindElsewhere:    {http.StatusNotFound, "Another member has it"},
		KindMethod:       {http.StatusMethodNotAllowed, "That is not how it is asked for"},
		KindRequest:      {http.StatusBadRequest, "The request can't be read"},
		KindTooLarge:     {http.StatusRequestEntityTooLarge, "The request is too long"},
		KindMedia:        {http.StatusUnsupportedMediaType, "The request is of another type"},
		KindInvalid:      {http.StatusUnprocessableEntity, "It makes no sense"},
		KindFaults:       {http.StatusUnprocessableEntity, "The file has faults"},
		KindBusy:         {http.StatusConflict, "A switchover is under way"},
		KindConflict:     {http.StatusConflict, "Something stands against it"},
		KindChecks:       {http.StatusConflict, "The checks before it fail"},
		KindRules:        {http.StatusConflict, "A safety rule forbids it"},
		KindLease:        {http.StatusConflict, "Another Region holds the lease"},
		KindVersion:      {http.StatusPreconditionFailed, "The topology is of another version"},
		KindNoVersion:    {http.StatusPreconditionRequired, "Which version is to be replaced?"},
		KindNotLeader:    {http.StatusMisdirectedRequest, "Another member leads"},
		KindUnavailable:  {http.StatusServiceUnavailable, "No majority of the members can be reached"},
		KindUnknown:      {http.StatusGatewayTimeout, "It is not known whether it was done"},
	}[k]
	if !ok {
		return sort{http.StatusInternalServerError, "It is our fault"}
	}
	return s
}

func wrongMethod(methods []string) error {
	slices.Sort(methods)
	return &Problem{Kind: KindMethod, Detail: "it is asked for by " + strings.Join(methods, " or "), Next: "see /v1/openapi.json", Allow: methods}
}

func notFound(detail string) error {
	return &Problem{Kind: KindNotFound, Detail: detail, Next: "see /v1/openapi.json"}
}

// problemOf returns what an error is told as.
func (a *api) problemOf(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		out := *p
		return &out
	}
	if r, ok := errors.AsType[*routing.Refusal](err); ok {
		return refusal(r)
	}
	p := &Problem{Detail: err.Error()}
	switch {
	case errors.Is(err, control.ErrNotLeader), errors.Is(err, quorum.ErrNotLeader):
		return a.elsewhere()
	case errors.Is(err, ledger.ErrBusy):
		p.Kind, p.Next = KindBusy, "wait for it to end, or cancel it while it is arming"
	case errors.Is(err, ledger.ErrConflict), errors.Is(err, ledger.ErrStale):
		p.Kind, p.Next = KindConflict, "look at the status, and ask again if it is still to be"
	case errors.Is(err, ledger.ErrInvalid):
		p.Kind, p.Next = KindInvalid, "mend what the detail says"
	case errors.Is(err, events.ErrUnknown):
		p.Kind, p.Next = KindNotFound, "see /v1/webhooks for their names"
	case errors.Is(err, quorum.ErrTooLarge):
		p.Kind, p.Next = KindTooLarge, "send less"
	case errors.Is(err, quorum.ErrFull), errors.Is(err, quorum.ErrStopped):
		p.Kind, p.Next, p.After = KindUnavailable, "nothing was done: ask again in a moment, or ask another member", time.Second
	case errors.Is(err, quorum.ErrUnknown), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		p.Kind, p.Next = KindUnknown, "look at the status before you ask again: it may have been done, or may yet be"
	default:
		p.Kind, p.Detail, p.Next = KindInternal, "an error that nobody has thought of", "see this member's log"
	}
	return p
}

// refusal tells of a change of routing controls that was not made.
func refusal(r *routing.Refusal) *Problem {
	p := &Problem{Detail: r.Error()}
	switch {
	case errors.Is(r, routing.ErrConflict):
		p.Kind, p.Rules, p.Next = KindRules, r.Rules, "change other controls in the same request, or name the rules in override"
		if !r.RetryAt.IsZero() {
			p.RetryAt, p.After = r.RetryAt, max(time.Until(r.RetryAt), time.Second)
			p.Next = "wait until retry_at, or name the rules in override"
		}
	case errors.Is(r, routing.ErrLease):
		p.Kind, p.Next = KindLease, "switch over to the Region: its control follows the lease"
	case errors.Is(r, routing.ErrUnknown):
		p.Kind, p.Next = KindNotFound, "see /v1/controls for their names"
	default:
		p.Kind, p.Next = KindInvalid, "mend what the detail says"
	}
	return p
}

// elsewhere tells who leads.
func (a *api) elsewhere() *Problem {
	leader := a.member.Status().Leader
	if leader == "" {
		return &Problem{
			Kind: KindUnavailable, Detail: "nobody leads that this member knows of",
			Next: "nothing was done: ask again in a moment, or ask another member", After: time.Second,
		}
	}
	return &Problem{
		Kind: KindNotLeader, Detail: fmt.Sprintf("nothing was done here: %s leads", leader), Next: "ask " + leader,
		Leader: leader, LeaderURL: a.Members[leader],
	}
}

// refuse answers with a problem.
func (a *api) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p := a.problemOf(err)
	if p.Kind == KindInternal {
		a.Log.Error("an answer of the admin API", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	s := sortOf(p.Kind)
	p.Type, p.Title, p.Status = typeBase+string(p.Kind), s.title, s.status
	h := w.Header()
	if p.After > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.After.Seconds()))))
	}
	if len(p.Allow) > 0 {
		h.Set("Allow", strings.Join(p.Allow, ", "))
	}
	if p.Kind == KindUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="roam"`)
	}
	h.Set("Content-Type", "application/problem+json")
	body, err := json.Marshal(p)
	if err != nil {
		a.Log.Error("encode a problem", "err", err)
	}
	write(w, s.status, body)
}
