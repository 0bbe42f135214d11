package valkey

import (
	"math"
	"testing"
	"time"
)

// What several shards say of themselves as one: the worst of each, and a name of them all.
func TestTogether(t *testing.T) {
	primary := Role{Primary: true, Replid: "h", Offset: 5, Replicas: 1, RunID: "r", Keys: 2}
	replica := Role{Follows: "there:1", LinkUp: true, Silent: time.Second, Replid: "i", Offset: 7, RunID: "s", Keys: 3}
	but := func(r Role, change func(*Role)) Role {
		change(&r)
		return r
	}
	for name, c := range map[string]struct {
		roles                           []Role
		primary, linkUp, syncing, loads bool
		silent                          time.Duration
		offset, keys                    int64
		replicas                        int
	}{
		"one primary":      {roles: []Role{primary}, primary: true, offset: 5, keys: 2, replicas: 1},
		"primaries":        {roles: []Role{primary, primary, primary}, primary: true, offset: 15, keys: 6, replicas: 3},
		"replicas":         {roles: []Role{replica, replica}, linkUp: true, silent: time.Second, offset: 14, keys: 6},
		"one is a replica": {roles: []Role{primary, replica, primary}, silent: time.Second, offset: 17, keys: 7, replicas: 2},
		"one is a primary": {roles: []Role{replica, replica, primary}, silent: time.Second, offset: 19, keys: 8, replicas: 1},
		"one is not linked": {
			roles: []Role{replica, but(replica, func(r *Role) { r.LinkUp, r.Silent = false, math.MaxInt64 })}, silent: math.MaxInt64, offset: 14, keys: 6,
		},
		"one is given all data": {
			roles: []Role{but(replica, func(r *Role) { r.Syncing = true }), replica}, linkUp: true, syncing: true, silent: time.Second, offset: 14, keys: 6,
		},
		"one reads its disk": {
			roles: []Role{primary, but(primary, func(r *Role) { r.Loading = true })}, primary: true, loads: true, offset: 10, keys: 4, replicas: 2,
		},
	} {
		got := together(c.roles)
		want := Role{
			Primary: c.primary, LinkUp: c.linkUp, Syncing: c.syncing, Loading: c.loads, Silent: c.silent, Offset: c.offset, Replicas: c.replicas,
			Keys: c.keys, RunID: got.RunID, Replid: got.Replid,
		}
		if got != want || got.RunID == "" || got.Replid == "" {
			t.Errorf("%s: together = %+v, want %+v, with names", name, got, want)
		}
		if is := got.Primary || got.LinkUp; mixed(c.roles) && is {
			t.Errorf("%s: it is neither, and together = %+v", name, got)
		}
	}
}

// A set has the name of its only one, or another name than any other set, in whatever order.
func TestSetOf(t *testing.T) {
	if got := setOf([]string{"a"}); got != "a" {
		t.Errorf("setOf of one = %q, want its name", got)
	}
	if got := setOf([]string{"a", "", "b"}); got != "" {
		t.Errorf("setOf with one that has no name = %q, want none", got)
	}
	names := map[string]string{}
	for _, s := range [][]string{{"a", "b"}, {"a", "c"}, {"a", "b", "c"}} {
		name := setOf(s)
		if before, is := names[name]; len(name) != 40 || is {
			t.Errorf("setOf(%q) = %q, as of %q, want another one of 40 digits", s, name, before)
		}
		names[name] = s[0]
	}
	if a, b := setOf([]string{"a", "b", "c"}), setOf([]string{"c", "a", "b"}); a != b {
		t.Errorf("setOf in another order = %q, was %q", b, a)
	}
}

// Of beats at several shards the oldest counts, and the latest epoch.
func TestOldest(t *testing.T) {
	for name, c := range map[string]struct {
		beats []Beat
		want  Beat
	}{
		"none":                  {[]Beat{{}, {}}, Beat{}},
		"one shard":             {[]Beat{{7, 9, 100}}, Beat{7, 9, 100}},
		"all have the same":     {[]Beat{{7, 9, 100}, {7, 9, 101}}, Beat{7, 9, 100}},
		"one is behind":         {[]Beat{{7, 9, 100}, {7, 5, 60}, {7, 9, 101}}, Beat{7, 5, 60}},
		"clocks differ":         {[]Beat{{7, 9, 100}, {7, 8, 130}}, Beat{7, 8, 100}},
		"one has none":          {[]Beat{{7, 9, 100}, {}}, Beat{7, 0, 0}},
		"the first has none":    {[]Beat{{}, {7, 9, 100}, {7, 8, 90}}, Beat{7, 0, 0}},
		"one is of before":      {[]Beat{{7, 9, 100}, {6, 99, 80}}, Beat{7, 0, 80}},
		"the first is":          {[]Beat{{6, 99, 80}, {7, 9, 100}, {7, 8, 90}}, Beat{7, 0, 80}},
		"each is of its own":    {[]Beat{{5, 4, 50}, {6, 5, 60}, {7, 6, 70}}, Beat{7, 0, 50}},
		"the last is of before": {[]Beat{{7, 9, 100}, {7, 9, 100}, {6, 8, 90}}, Beat{7, 0, 90}},
	} {
		if got := oldest(c.beats); got != c.want {
			t.Errorf("%s: oldest = %+v, want %+v", name, got, c.want)
		}
	}
}

// A mark that one shard has not got is none.
func TestLeastOfMarks(t *testing.T) {
	for want, marks := range map[uint64][]uint64{0: {7, 0, 8}, 7: {8, 7}, 9: {9}} {
		if got := leastOf(marks); got != want {
			t.Errorf("leastOf(%d) = %d, want %d", marks, got, want)
		}
	}
}
