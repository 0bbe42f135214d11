package node

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/pki"
)

// A person's certificate opens no link, though she has a Region's name and may do all at the
// admin API.
func TestPeopleHaveNoLinks(t *testing.T) {
	l := memoryLand(t)
	l.start("west")
	people := filepath.Join(l.dir, pki.PeopleDir)
	for _, role := range []string{pki.Viewer, pki.Operator} {
		o := pki.Order{Dir: l.dir, Out: people, Person: pki.Person{Name: "east", Role: role}, Renew: true}
		if _, err := pki.Issue(o, time.Now()); err != nil {
			t.Fatal(err)
		}
		if f, err := l.hello(people, "east", 2, "west"); err == nil {
			t.Errorf("a %s called east, at a link: %#v, want no answer", role, f)
		}
	}
	if _, err := l.hello(l.dir, "east", 2, "west"); err != nil {
		t.Errorf("east itself: %v, want an answer", err)
	}
}
