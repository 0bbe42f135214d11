package topology

import (
	"testing"
	"time"
)

// The servers of a Global Datastore are ElastiCache's, and its example says so.
func TestDatastore(t *testing.T) {
	d, err := Parse([]byte(DatastoreExample()))
	if err != nil {
		t.Fatalf("Parse of the example: %v", err)
	}
	if got, want := *d.Control.Datastore, (Datastore{ID: "virxk-sessions", Promotion: 5 * time.Minute}); got != want {
		t.Errorf("Datastore = %+v, want %+v", got, want)
	}
	for i, want := range []Group{{"session-usw1", "us-west-1"}, {"session-usw2", "us-west-2"}} {
		if got := *d.Regions[i].Group; got != want {
			t.Errorf("Group of %s = %+v, want %+v", d.Regions[i].Name, got, want)
		}
	}
	if !d.Leases() {
		t.Error("there is no lease on a Global Datastore")
	}
}
