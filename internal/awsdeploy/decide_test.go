package awsdeploy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
)

func TestDecide(t *testing.T) {
	const template = "Parameters:\n  A: {Type: String}\n  B: {Type: Number, Default: 1}\n"
	is := func(status string, change func(*stack)) *stack {
		s := &stack{status: status, deployment: "shop", parameters: map[string]string{"A": "x", "B": "1"}}
		if change != nil {
			change(s)
		}
		return s
	}
	set := func(key, value string) func(*stack) { return func(s *stack) { s.parameters[key] = value } }
	for i, c := range []struct {
		s             *stack
		template      string
		roles, failed bool
		want          verdict
		differs       string
	}{
		{nil, "", false, false, toCreate, "[]"},
		{is("DELETE_COMPLETE", nil), "", false, false, toCreate, "[]"},
		{is("CREATE_COMPLETE", nil), template, false, false, toKeep, "[]"},
		{is("CREATE_COMPLETE", nil), "\r\n" + strings.ReplaceAll(template, "\n", "\r\n"), false, false, toKeep, "[]"},
		{is("UPDATE_COMPLETE", set("A", "y")), template, false, false, toUpdate, `[A is "y" and not "x"]`},
		{is("UPDATE_COMPLETE", set("B", "2")), template, false, false, toKeep, "[]"}, // it is not given: it stays
		{is("UPDATE_COMPLETE", set("B", "2")), template, false, false, toKeep, "[]"},
		{is("UPDATE_COMPLETE", set("A", "y")), template, true, false, toSkip, `[A is "y" and not "x"]`},
		{is("UPDATE_COMPLETE", set("A", "****")), template, true, false, toKeep, "[]"},
		{is("UPDATE_COMPLETE", set("A", "****")), template, false, false, toUpdate, `[A is "****" and not "x"]`},
		{is("UPDATE_ROLLBACK_COMPLETE", nil), template + "#", false, false, toUpdate, "[another template]"},
		{is("UPDATE_FAILED", set("A", "y")), template, false, false, toUpdate, `[A is "y" and not "x"]`},
		{is("IMPORT_COMPLETE", nil), template, false, false, toKeep, "[]"},
		{is("CREATE_COMPLETE", func(s *stack) { s.deployment = "" }), template, false, true, toRefuse, "[]"},
		{is("CREATE_IN_PROGRESS", func(s *stack) { s.deployment = "bank" }), template, false, true, toRefuse, "[]"},
		{is("CREATE_IN_PROGRESS", nil), template, false, false, toWait, "[]"},
		{is("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", nil), template, false, false, toWait, "[]"},
		{is("DELETE_IN_PROGRESS", nil), template, false, true, toWait, "[]"},
		{is("REVIEW_IN_PROGRESS", nil), template, false, false, toRefuse, "[]"},
		{is("REVIEW_IN_PROGRESS", nil), template, false, true, toReplace, "[]"},
		{is("ROLLBACK_COMPLETE", nil), template, false, false, toRefuse, "[]"},
		{is("ROLLBACK_COMPLETE", nil), template, true, true, toReplace, "[]"},
		{is("CREATE_FAILED", nil), template, false, true, toReplace, "[]"},
		{is("DELETE_FAILED", nil), template, false, true, toRefuse, "[]"}, // it may have had data
		{is("UPDATE_ROLLBACK_FAILED", nil), template, false, true, toRefuse, "[]"},
	} {
		w := wanted{deployment: "shop", template: template, parameters: map[string]string{"A": "x"}, roles: c.roles}
		got, differs := Config{ReplaceFailed: c.failed}.decide(w, c.s, c.template)
		if got != c.want || fmt.Sprint(differs) != c.differs {
			t.Errorf("case %d, %+v: decide = %s %v, want %s %s", i, c.s, got, differs, c.want, c.differs)
		}
	}
}

// Every status that the SDK knows of has an answer: nothing goes on for ever, and nothing is updated that can't be.
func TestEveryStatusIsKnown(t *testing.T) {
	for _, s := range types.StackStatus("").Values() {
		name := string(s)
		kinds := 0
		for _, is := range []bool{going(name), whole(name), stillborn(name), s == types.StackStatusDeleteComplete, s == types.StackStatusDeleteFailed, strings.HasSuffix(name, "ROLLBACK_FAILED") && !stillborn(name)} {
			if is {
				kinds++
			}
		}
		if kinds != 1 {
			t.Errorf("%s is of %d kinds, want one", name, kinds)
		}
		if !going(name) && !done(name) && next(name) == next("") && s != types.StackStatusDeleteComplete && !strings.HasPrefix(name, "IMPORT_") {
			t.Errorf("of %s nobody is told what to do", name)
		}
	}
}

func TestFirstFailure(t *testing.T) {
	e := func(resource, kind, status, reason string) happening {
		return happening{id: resource + status, resource: resource, kind: kind, physical: "id", status: status, reason: reason, at: time.Time{}}
	}
	for i, c := range []struct {
		events []happening
		want   string
	}{
		{nil, ""},
		{[]happening{e("s", stackKind, "CREATE_IN_PROGRESS", ""), e("A", "T", "CREATE_COMPLETE", "")}, ""},
		{[]happening{e("A", "T", "CREATE_FAILED", "Resource creation cancelled"), e("B", "T", "CREATE_FAILED", "why"), e("C", "T", "CREATE_FAILED", "else")}, "B"},
		{[]happening{e("s", stackKind, "CREATE_FAILED", "hook"), e("B", "T", "CREATE_FAILED", "why")}, "B"},
		{[]happening{e("s", stackKind, "CREATE_FAILED", "hook")}, "s"},
	} {
		if got, _ := firstFailure(c.events, "id"); got.resource != c.want {
			t.Errorf("case %d: firstFailure = %+v, want %q", i, got, c.want)
		}
	}
}
