package awsdeploy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
)

// A StackError says why a stack is not as it is to be, and what to do next.
type StackError struct {
	Stack  string `json:"stack"`
	Region string `json:"region"`
	Status string `json:"status"`
	// Resource, Type and Reason are of what failed first; empty: nobody knows any more.
	Resource string `json:"resource,omitempty"`
	Type     string `json:"type,omitempty"`
	Reason   string `json:"reason,omitempty"`
	Next     string `json:"next"`
}

// Error returns it in words: what happened, what failed first, and what to do.
func (e *StackError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "stack %s in %s is %s", e.Stack, e.Region, e.Status)
	if e.Resource != "" {
		fmt.Fprintf(&b, "\n  first failed: %s (%s)", e.Resource, e.Type)
	}
	if e.Reason != "" {
		fmt.Fprintf(&b, "\n  because: %s", e.Reason)
	}
	fmt.Fprintf(&b, "\n→ %s", e.Next)
	return b.String()
}

// A happening is an event of a stack.
type happening struct {
	id, resource, kind, status, reason string
	physical                           string
	at                                 time.Time
}

// own reports whether it is about the stack itself.
func (h happening) own(stack string) bool {
	return h.kind == "AWS::CloudFormation::Stack" && h.physical == stack
}

// starts reports whether an operation of a stack begins with it. A rollback is no operation of its own.
func (h happening) starts(stack string) bool {
	return h.own(stack) && slices.Contains([]types.ResourceStatus{
		types.ResourceStatusCreateInProgress, types.ResourceStatusUpdateInProgress, types.ResourceStatusDeleteInProgress, types.ResourceStatusImportInProgress,
	}, types.ResourceStatus(h.status))
}

// firstFailure returns what failed first, of events in their order. What was cancelled since something else failed
// is not it, and neither is the stack, unless nothing else failed.
func firstFailure(events []happening, stack string) (happening, bool) {
	var of happening
	for _, e := range events {
		if !strings.HasSuffix(e.status, "_FAILED") || strings.Contains(strings.ToLower(e.reason), "cancelled") {
			continue
		}
		if !e.own(stack) {
			return e, true
		}
		of = cmp.Or(of, e)
	}
	return of, of.id != ""
}

// explain makes an error of a stack that is not as it is to be, of the events of its last operation.
func explain(s *stack, events []happening) *StackError {
	out := &StackError{Stack: s.name, Region: s.region, Status: s.status, Reason: s.reason, Next: next(s.status)}
	if e, ok := firstFailure(events, s.id); ok {
		out.Resource, out.Type, out.Reason = e.resource, e.kind, cmp.Or(e.reason, s.reason)
	}
	if hint := hint(out.Reason); hint != "" {
		out.Next = hint + "; then: " + out.Next
	}
	return out
}

// next says what to do about a status.
func next(status string) string {
	switch types.StackStatus(status) {
	case types.StackStatusRollbackComplete, types.StackStatusRollbackFailed, types.StackStatusCreateFailed:
		return `mend the cause, and run "roam aws deploy --replace-failed": it deletes this stack, which was never complete, and makes it anew`
	case types.StackStatusReviewInProgress:
		return `a change set of somebody else's waits there; delete the stack, or run "roam aws deploy --replace-failed"`
	case types.StackStatusUpdateRollbackComplete:
		return `mend the cause, and run "roam aws deploy" again; until then the stack is as it was before`
	case types.StackStatusUpdateFailed:
		return `mend the cause, and run "roam aws deploy" again`
	case types.StackStatusUpdateRollbackFailed:
		return `mend the cause, then have CloudFormation continue the rollback (aws cloudformation continue-update-rollback), and run "roam aws deploy" again`
	case types.StackStatusDeleteFailed:
		return `mend the cause, and run "roam aws destroy" again`
	}
	return "look at the stack's events in CloudFormation's console"
}

// hint says what a reason means, of those that people meet.
func hint(reason string) string {
	low := strings.ToLower(reason)
	switch {
	case strings.Contains(low, "already exist"):
		return `something of that name is there, maybe left by a deployment before: look at it, and delete it if it is not needed ("roam aws destroy --purge")`
	case strings.Contains(low, "not authorized") || strings.Contains(low, "access denied") || strings.Contains(low, "accessdenied"):
		return "the rights of who deploys, or of the role that CloudFormation has, don't suffice: docs/aws/deploy.md has a policy"
	case strings.Contains(low, "limit exceeded") || strings.Contains(low, "limitexceeded") || strings.Contains(low, "maximum number") || strings.Contains(low, "quota"):
		return "a quota of the account is reached: ask AWS for more, or free some"
	case strings.Contains(low, "nosuchkey") || strings.Contains(low, "specified key does not exist") || strings.Contains(low, "nosuchbucket"):
		return "a program is not in the bucket that the file names: put it there"
	}
	return ""
}
