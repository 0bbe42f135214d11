package awsdrill

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// good is a round in which all moved, and the record waited for a Region that was dark.
func good() Round {
	writes := func() map[string]time.Duration {
		return map[string]time.Duration{west1: 4 * time.Second, west2: 5 * time.Second}
	}
	return Round{
		To: west2, Dark: global, Promoted: time.Second, Ran: missed, Acknowledged: 9, Names: []Move{
			{Name: byRecord, By: "a record", Held: true, Led: missed, Late: 3 * time.Second, Writes: writes()},
			{Name: byControl, By: "a routing control", Led: 2 * time.Second, Writes: writes()},
		},
	}
}

// What is not as it should be is told, and nothing else.
func TestBroken(t *testing.T) {
	for want, change := range map[string]func(r *Round){
		"":                           func(*Round) {},
		"has not promoted":           func(r *Round) { r.Promoted = missed },
		"has not reported":           func(r *Round) { r.Dark, r.Names = "", r.Names[1:] },
		"2 visitors were logged out": func(r *Round) { r.LoggedOut = 2 },
		"nobody has written":         func(r *Round) { r.Acknowledged = 0 },
		"write.session.internal has moved, and us-east-1 is dark":      func(r *Round) { r.Names[0].Led = time.Second },
		"has not moved after us-east-1 was back":                       func(r *Round) { r.Names[0].Late = missed },
		"arc.session.internal has not moved":                           func(r *Round) { r.Names[1].Led = missed },
		"the shop of us-west-1 at arc.session.internal does not write": func(r *Round) { r.Names[1].Writes[west1] = missed },
	} {
		r := good()
		change(&r)
		got := strings.Join(Result{Rounds: []Round{r}}.Broken(), "; ")
		if want == "" && got != "" || !strings.Contains(got, want) || strings.Contains(got, ";") {
			t.Errorf("Broken = %q, want %q alone", got, want)
		}
	}
}

func TestTable(t *testing.T) {
	table := Result{Promotion: time.Second, Propagation: time.Second, Minute: time.Second, Rounds: []Round{good()}}.Table()
	for _, want := range []string{
		"us-east-1 dark", "| write.session.internal, by a record, leads there | never |", "| write.session.internal leads there, after us-east-1 is back | 3s |",
		"| the shop of us-west-2 writes at arc.session.internal again | 5s |", "9 visits",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
}

// Whoever asks wrongly is told what is wanted, and nothing begins.
func TestMainRefuses(t *testing.T) {
	for _, args := range [][]string{{"-minute", "1ms"}, {"-promotion", "-1s"}, {"x"}, {"-unknown"}} {
		var out, talk bytes.Buffer
		if code := Main(t.Context(), args, &out, &talk); code != 2 || talk.Len() == 0 || out.Len() > 0 {
			t.Errorf("%v: code %d, said %q", args, code, talk.String())
		}
	}
}
