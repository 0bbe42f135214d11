package awsdeploy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/internal/awsplan"
)

// deployed returns a world with testPlan's deployment.
func deployed(t *testing.T) *world {
	t.Helper()
	w := newTestWorld()
	if told, err := deploy(t, w, Config{}); err != nil {
		t.Fatalf("Deploy = %v\n%s", err, text(*told))
	}
	w.calls = nil
	return w
}

// isGone checks that no more is there than is to remain.
func isGone(t *testing.T, w *world, when string) {
	t.Helper()
	w.formation.advance(nowOf())
	w.cache.advance(nowOf())
	if got := w.formation.states(); len(got) > 0 {
		t.Errorf("%s: stacks are %v, want none", when, got)
	}
	if len(w.cache.globals)+len(w.cache.groups) > 0 || len(w.zone) != 2 {
		t.Errorf("%s: there are %d Global Datastores, %d groups, records %v", when, len(w.cache.globals), len(w.cache.groups), w.zone)
	}
}

func ids(all []Remainder) string {
	var out []string
	for _, r := range all {
		out = append(out, r.Region+" "+r.Type+" "+r.ID)
	}
	return strings.Join(out, "\n")
}

const (
	keyLeft      = west1 + " AWS::KMS::Key shop-cache-key"
	logLeft      = west1 + " AWS::Logs::LogGroup shop-zone-log"
	snapshotLeft = " AWS::ElastiCache::Snapshot shop-last"
)

// All of it goes, whoever is the primary, and what remains is told.
func TestDestroy(t *testing.T) {
	for _, primary := range []string{west1, west2} {
		synctest.Test(t, func(t *testing.T) {
			w := deployed(t)
			w.cache.promote(primary)
			d, told := w.undoer(Config{})
			remains, err := d.Destroy(t.Context())
			if err != nil {
				t.Fatalf("Destroy = %v\n%s", err, text(*told))
			}
			isGone(t, w, primary)
			want := []string{keyLeft, logLeft, west1 + snapshotLeft, west2 + snapshotLeft}
			slices.Sort(want)
			got := strings.Split(ids(remains), "\n")
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%s: it says that %q remain, want %q", primary, got, want)
			}
			other := map[string]string{west1: west2, west2: west1}[primary]
			if !strings.Contains(text(*told), "taking shop-"+other+" in "+other+" out") {
				t.Errorf("%s is the primary, and the other was not taken out:\n%s", primary, text(*told))
			}
			w.sound(t)
			d, _ = w.undoer(Config{})
			before := w.changes()
			if again, err := d.Destroy(t.Context()); err != nil || w.changes() != before || len(again) != len(remains) {
				t.Errorf("%s: again: Destroy = %v, %v, and %d changes", primary, ids(again), err, w.changes()-before)
			}
		})
	}
}

func TestDestroyGoesOnAfterACrashAnywhere(t *testing.T) {
	total := 0
	synctest.Test(t, func(t *testing.T) {
		w := deployed(t)
		d, _ := w.undoer(Config{})
		if _, err := d.Destroy(t.Context()); err != nil {
			t.Fatal(err)
		}
		total = len(w.calls)
	})
	for at := 1; at <= total; at += stride {
		for _, unheard := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				w := deployed(t)
				ctx, die := context.WithCancel(t.Context())
				w.fate = func(n int, _ call) fate {
					if n == at {
						die()
						return fate{lost: !unheard, unheard: unheard}
					}
					return fate{}
				}
				d, _ := w.undoer(Config{Poll: 4 * resourceTime})
				if _, err := d.Destroy(ctx); err == nil && len(w.calls) >= at {
					t.Errorf("dead at call %d: Destroy = nil", at)
				}
				if len(w.calls) < at || unheard && !slices.Contains(changing(), w.calls[at-1].action) {
					return // of a question it is no matter whether AWS heard it
				}
				w.fate = nil
				d, told := w.undoer(Config{Poll: 4 * resourceTime})
				remains, err := d.Destroy(t.Context())
				if err != nil {
					t.Fatalf("after a crash at call %d: Destroy = %v\n%s", at, err, text(*told))
				}
				isGone(t, w, fmt.Sprintf("after a crash at call %d", at))
				// The key has no stack any more that would say so, and is found by what its stack kept.
				for _, want := range []string{keyLeft, logLeft, west1 + snapshotLeft} {
					if !strings.Contains(ids(remains), want) {
						t.Errorf("after a crash at call %d (unheard: %t): %s is not told of:\n%s", at, unheard, want, ids(remains))
					}
				}
			})
		}
	}
}

func TestDestroyBearsTrouble(t *testing.T) {
	for name, f := range map[string]fate{
		"lost": {lost: true}, "unheard": {unheard: true}, "throttled": {code: "Throttling"}, "broken": {code: "InternalFailure", status: http.StatusInternalServerError},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := deployed(t)
				w.fate = func(n int, _ call) fate {
					if n%2 == 1 {
						return f
					}
					return fate{}
				}
				d, told := w.undoer(Config{})
				if _, err := d.Destroy(t.Context()); err != nil {
					t.Fatalf("Destroy = %v\n%s", err, text(*told))
				}
				isGone(t, w, name)
			})
		})
	}
}

func TestPurge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := deployed(t)
		d, _ := w.undoer(Config{})
		remains, err := d.Destroy(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Purge(t.Context(), remains); err != nil {
			t.Fatal(err)
		}
		if after, err := d.Remainders(t.Context()); err != nil || len(after) > 0 || len(w.cache.snapshots) > 0 || len(w.resources) > 0 {
			t.Errorf("after Purge: %s remain, %v; there are %v, %v", ids(after), err, w.cache.snapshots, w.resources)
		}
		w.sound(t)
	})
}

// What a stack has is no remainder that could be purged, though one of before kept a thing of the same name, and
// buckets are the user's.
func TestPurgeLeavesWhatIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := deployed(t)
		d, _ := w.undoer(Config{})
		if _, err := d.Destroy(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.peerings["tgw-attach-1"] = "initiatingRequest"
		if _, err := deploy(t, w, Config{}); err != nil {
			t.Fatal(err)
		}
		w.resources[west1+" "+bucketType+" mine"] = "{}"
		// Of those that were deleted one kept a bucket; and one of another deployment, which had the same name, a key.
		gone := w.formation.stacks[0]
		gone.resources = append(gone.resources, &fakeResource{name: "Logs", kind: bucketType, id: "logs", status: "DELETE_SKIPPED"})
		w.formation.stacks = append(w.formation.stacks, &fakeStack{
			id: "arn:other", name: gone.name, region: gone.region, status: "DELETE_COMPLETE", tags: map[string]string{tagName: "bank"},
			resources: []*fakeResource{{name: "Key", kind: "AWS::KMS::Key", id: "theirs", status: "DELETE_SKIPPED"}},
		})
		w.resources[west1+" "+bucketType+" logs"], w.resources[west1+" AWS::KMS::Key theirs"] = "{}", "{}"
		d, _ = w.undoer(Config{})
		d.remain[0].Type, d.remain[0].ID = bucketType, "mine"
		d.remain = append(d.remain, awsplan.Remain{Type: "AWS::EC2::VPC", Region: west1, ID: "shop"}, awsplan.Remain{Type: "AWS::SecretsManager::Secret", Region: west1, ID: "cert"})
		w.resources[west1+" AWS::SecretsManager::Secret cert"] = "{}"
		remains, err := d.Remainders(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range remains {
			if held := r.Type != snapshotType && !others(r.Type); held != (r.Held != "") || (r.Type != snapshotType) != r.Keep {
				t.Errorf("it says %+v", r)
			}
		}
		if err := d.Purge(t.Context(), remains); err != nil {
			t.Fatal(err)
		}
		if w.resources[keyLeft] == "" || w.resources[logLeft] == "" || w.resources[west1+" "+bucketType+" mine"] == "" || w.resources[west1+" "+bucketType+" logs"] == "" || w.resources[west1+" AWS::KMS::Key theirs"] == "" || w.resources[west1+" AWS::SecretsManager::Secret cert"] == "" || len(w.cache.snapshots) > 0 {
			t.Errorf("there are %v and %v, want what stacks have, the bucket, and no snapshot", sortedKeys(w.resources), w.cache.snapshots)
		}
		isComplete(t, w, "after Purge")
	})
}

// A group and a Global Datastore that nobody has any more are purged, too: the first is taken apart before.
func TestPurgeOfCaches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := deployed(t)
		d, _ := w.undoer(Config{})
		d.undo = testUndo()[5:] // stacks alone, with what they keep
		remains, err := d.Destroy(t.Context())
		if err != nil || !strings.Contains(ids(remains), globalType+" virxk-shop") || !strings.Contains(ids(remains), west2+" "+groupType+" shop-us-west-2") {
			t.Fatalf("Destroy = %s, %v", ids(remains), err)
		}
		if err := d.Purge(t.Context(), remains); err != nil {
			t.Fatal(err)
		}
		w.cache.advance(nowOf())
		if len(w.cache.globals)+len(w.cache.groups) > 0 {
			t.Errorf("there are %+v, %+v", w.cache.globals, w.cache.groups)
		}
	})
}

// A failover that begins in the very moment is waited for.
func TestPartWaitsForAFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := deployed(t)
		refused := false
		w.fate = func(_ int, c call) fate {
			if c.action != "DisassociateGlobalReplicationGroup" || refused {
				return fate{}
			}
			refused = true
			w.cache.globals[0].status, w.cache.globals[0].due = "modifying", time.Now().Add(roleTime)
			return fate{code: "InvalidGlobalReplicationGroupState"}
		}
		d, _ := w.undoer(Config{})
		if _, err := d.Destroy(t.Context()); err != nil || !refused {
			t.Fatalf("Destroy = %v, refused: %t", err, refused)
		}
		isGone(t, w, "after a failover")
	})
}

// The protection of tables and clusters is taken away first, and a last snapshot never takes the place of another.
func TestDiscard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := deployed(t)
		w.resources["us-east-1 AWS::DynamoDB::GlobalTable shop"] = `{"TableName":"shop","Replicas":[{"Region":"us-east-1","DeletionProtectionEnabled":true},{"Region":"us-west-2"}]}`
		w.resources["us-east-1 AWS::DSQL::Cluster abc"] = `{"DeletionProtectionEnabled":true}`
		w.cache.snapshots = []string{west1 + " shop-last"}
		d, _ := w.undoer(Config{})
		for _, kind := range []string{"AWS::DynamoDB::GlobalTable shop", "AWS::DSQL::Cluster abc"} {
			name, id, _ := strings.Cut(kind, " ")
			if said, err := d.discard(t.Context(), "us-east-1", name, id); err != nil || said != "deleted" {
				t.Errorf("discard %s = %q, %v", kind, said, err)
			}
			if said, err := d.discard(t.Context(), "us-east-1", name, id); err != nil || said != "nothing is there" {
				t.Errorf("again: discard %s = %q, %v", kind, said, err)
			}
		}
		if _, err := d.Destroy(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(w.cache.snapshots); n != 3 || !strings.HasPrefix(w.cache.snapshots[1], west1+" shop-last-2000") {
			t.Errorf("snapshots are %v, want the old one, another, and the other Region's", w.cache.snapshots)
		}
	})
}

// A stack that can't be deleted is explained; one of somebody else's is left.
func TestDestroyExplains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := deployed(t)
		w.formation.fail = func(stack, resource string) string {
			if stack == "shop-zone" && resource == "Zone" {
				return "HostedZoneNotEmpty"
			}
			return ""
		}
		d, _ := w.undoer(Config{})
		_, err := d.Destroy(t.Context())
		var of *StackError
		if !errors.As(err, &of) || of.Status != "DELETE_FAILED" || of.Resource != "Zone" || of.Reason != "HostedZoneNotEmpty" || !strings.Contains(of.Next, "roam aws destroy") {
			t.Errorf("Destroy = %v, want the zone's reason", err)
		}
		w.formation.fail = nil
		w.formation.find(west2, "shop-arc").tags[tagName] = "bank"
		d, _ = w.undoer(Config{})
		if _, err := d.Destroy(t.Context()); !errors.Is(err, ErrForeign) {
			t.Errorf("Destroy = %v, want ErrForeign", err)
		}
		if w.formation.find(west2, "shop-arc").status != "CREATE_COMPLETE" || w.formation.find(west1, "shop-zone") != nil {
			t.Error("another's stack was deleted, or its own not")
		}
	})
}
