package dynamo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/enginetest"
)

// The calls of an engine are those that the policy allows, and no others; each is signed
// for its Region and for DynamoDB, which the service checks.
func TestPolicyIsWhatIsAsked(t *testing.T) {
	s := newService(t)
	c := &clock{}
	e := s.open(t, 1, func(config *Config) { config.Clock = c.now })
	k := born(t, e)
	if err := e.Join(t.Context(), crdt.Record{Key: k, Dead: true}); err != nil {
		t.Error(err)
	}
	if err := e.Scan(t.Context(), engine.EveryPartition, func(crdt.Record) bool { return true }); err != nil {
		t.Error(err)
	}
	p := PolicyFor("arn:aws:dynamodb:us-west-2:123456789012:table/sessions", true)
	asked := map[string]bool{}
	for _, op := range s.operations() {
		asked["dynamodb:"+op] = true
	}
	if got, want := slices.Sorted(maps.Keys(asked)), p.Statement[0].Action; !slices.Equal(got, want) {
		t.Errorf("without sweeping, asked for %v, want what the policy allows: %v", got, want)
	}
	c.advance(2 * time.Hour)
	if n, err := e.Sweep(t.Context()); n != 1 || err != nil {
		t.Errorf("Sweep = %d, %v, want 1", n, err)
	}
	for _, op := range s.operations() {
		asked["dynamodb:"+op] = true
	}
	if got, want := slices.Sorted(maps.Keys(asked)), slices.Sorted(slices.Values(slices.Concat(p.Statement[0].Action, p.Statement[1].Action))); !slices.Equal(got, want) {
		t.Errorf("sweeping, asked for %v, want what the policy allows: %v", got, want)
	}
	if some := PolicyFor("arn", false); len(some.Statement) != 1 {
		t.Errorf("policy of who does not sweep = %+v", some)
	}
	page, err := os.ReadFile("../../docs/formats/dynamo.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(page), "```json\n")
	inPage, _, _ := strings.Cut(after, "```")
	var got, want any
	if err := errors.Join(json.Unmarshal([]byte(inPage), &got), json.Unmarshal([]byte(p.JSON()), &want)); err != nil {
		t.Fatal(err)
	}
	if inPage != p.JSON()+"\n" {
		t.Errorf("docs/formats/dynamo.md has the policy %v, want %s", got, p.JSON())
	}
}

// What a logout in one Region is to another's item: it wins as soon as both are there.
func TestRegionsShareARecord(t *testing.T) {
	s := newService(t)
	s.pageSize = 1 // each item on a page of its own
	one, two := s.open(t, 1), s.open(t, 2, func(c *Config) { c.Clock = time.Now })
	three := s.open(t, 3)
	k := born(t, one)
	var dots []crdt.Dot
	for _, e := range []*Engine{one, two, three} {
		dot, err := e.Apply(t.Context(), k, crdt.Op{ID: uint64(e.here), Stamp: now().Stamp(), Changes: []crdt.Change{crdt.Add("n", 1)}})
		if err != nil || dot.Actor.Region() != e.here {
			t.Fatalf("Apply in Region %d = %v, %v, want a dot of it", e.here, dot, err)
		}
		dots = append(dots, dot)
	}
	r, err := three.Read(t.Context(), k, crdt.Token{})
	if err != nil || r.Count("n") != 3 || !r.VV.Has(dots[0]) || !r.VV.Has(dots[1]) {
		t.Errorf("Read = %+v, %v, want what three Regions wrote", r, err)
	}
	if rows := s.sorted(keyOf(k)); len(rows) != 3 {
		t.Errorf("%d items, want one of each Region", len(rows))
	}
	records := 0
	if err := two.Scan(t.Context(), engine.EveryPartition, func(got crdt.Record) bool {
		if got.Digest() == r.Digest() {
			records++
		}
		return got.Digest() == r.Digest()
	}); err != nil || records != 1 {
		t.Errorf("Scan = %d records as Read has them, %v, want the one there is", records, err)
	}
	logoutElsewhere(t, s, k, one, two, three)
}

// logoutElsewhere logs out by one engine and looks at the others.
func logoutElsewhere(t *testing.T, s *service, k crdt.Key, one, two, three *Engine) {
	t.Helper()
	if _, err := two.Apply(t.Context(), k, crdt.Op{Destroy: true}); err != nil {
		t.Fatal(err)
	}
	if r, err := one.Read(t.Context(), k, crdt.Token{}); err != nil || !r.Dead {
		t.Errorf("Read after a logout elsewhere = %+v, %v, want it dead", r, err)
	}
	if _, err := one.Apply(t.Context(), k, crdt.Op{Touch: true}); !errors.Is(err, crdt.ErrDead) {
		t.Errorf("Apply(touch) after a logout elsewhere = %v, want ErrDead", err)
	}
	// What another Region's item has need not be written again.
	before := count(s.operations(), "PutItem")
	if err := three.Join(t.Context(), crdt.Record{Key: k, Dead: true}); err != nil || count(s.operations(), "PutItem") != before {
		t.Errorf("Join of what is there = %v, want nothing written", err)
	}
}

// An engine opens whatever was written, of each Region or of all.
func TestItemsOfBothKinds(t *testing.T) {
	s := newService(t)
	each, all := s.open(t, 1), s.open(t, 2, func(c *Config) { c.Strong = true })
	k := born(t, each)
	dot, err := all.Apply(t.Context(), k, putOp("a", "1"))
	if err != nil || dot.Actor.Region() != 2 {
		t.Fatalf("Apply to everybody's item = %v, %v", dot, err)
	}
	for _, e := range []*Engine{each, all} {
		if r, err := e.Read(t.Context(), k, crdt.Token{}); err != nil || r.User != "ann" || !r.VV.Has(dot) {
			t.Errorf("Read = %+v, %v, want both items", r, err)
		}
	}
}

// Two engines of one Region are one engine to whoever looks: an actor is the item's.
func TestTwoProcessesAreOneEngine(t *testing.T) {
	for name, strong := range map[string]bool{"each Region an item": false, "one item": true} {
		t.Run(name, func(t *testing.T) {
			s := newService(t)
			set := func(c *Config) { c.Strong = strong }
			two := turns{Engine: s.open(t, 1, set), other: s.open(t, 1, set), turn: make(chan bool, 1)}
			two.turn <- false
			for seed := range uint64(8) {
				k := newKey()
				if err := enginetest.Linearizable(t.Context(), two, k, now(), seed); err != nil {
					t.Fatal(err)
				}
				if r, err := two.Read(t.Context(), k, crdt.Token{}); err != nil || len(r.VV) > 1 {
					t.Errorf("vector of a record that two processes wrote = %v, %v, want one actor", r.VV, err)
				}
			}
		})
	}
}

// turns calls two engines in turn.
type turns struct {
	*Engine
	other *Engine
	turn  chan bool
}

func (e turns) pick() *Engine {
	second := <-e.turn
	e.turn <- !second
	if second {
		return e.other
	}
	return e.Engine
}

func (e turns) Read(ctx context.Context, k crdt.Key, seen crdt.Token) (crdt.Record, error) {
	return e.pick().Read(ctx, k, seen)
}

func (e turns) Apply(ctx context.Context, k crdt.Key, op crdt.Op) (crdt.Dot, error) {
	return e.pick().Apply(ctx, k, op)
}

// What no item can hold is refused before it is sent; an ending always fits.
func TestTooLarge(t *testing.T) {
	s := newService(t)
	e := s.open(t, 1)
	k := born(t, e)
	here, err := e.Read(t.Context(), k, crdt.Token{})
	if err != nil {
		t.Fatal(err)
	}
	r, at := here, crdt.Origin{Now: now()}
	for i := range 3 { // each Region as much as it may
		at.Actor = crdt.NewActor(crdt.Region(2+i), 1) //nolint:gosec // small
		part := here
		for _, name := range []string{"a", "b", "c"} {
			op := putOp(name+string(rune('0'+i)), strings.Repeat("x", 60<<10))
			var err error
			if part, _, err = crdt.Apply(part, op, at); err != nil {
				t.Fatal(err)
			}
		}
		r = crdt.Join(r, part)
	}
	before := count(s.operations(), "PutItem")
	if err := e.Join(t.Context(), r); !errors.Is(err, crdt.ErrLimit) || !engine.OutcomeKnown(err) {
		t.Errorf("Join of %d bytes = %v, want ErrLimit", len(crdt.AppendRecord(nil, r)), err)
	}
	if count(s.operations(), "PutItem") != before {
		t.Error("what is too large was sent")
	}
	if err := e.Join(t.Context(), crdt.Record{Key: k, Dead: true}); err != nil {
		t.Errorf("Join of an ending = %v", err)
	}
}

// A table that would lose sessions is refused, and what could be better is told.
func TestFit(t *testing.T) {
	for name, c := range map[string]struct {
		edit   func(map[string]any)
		strong bool
		want   error
	}{
		"as it should be":              {func(map[string]any) {}, false, nil},
		"no sort key":                  {func(d map[string]any) { d["KeySchema"] = d["KeySchema"].([]any)[:1] }, false, ErrUnfit},
		"sort key of text":             {func(d map[string]any) { d["AttributeDefinitions"].([]any)[1].(map[string]any)["AttributeType"] = "S" }, false, ErrUnfit},
		"being made":                   {func(d map[string]any) { d["TableStatus"] = "CREATING" }, false, engine.ErrUnreachable},
		"of 2017":                      {func(d map[string]any) { d["GlobalTableVersion"] = "2017.11.29" }, false, ErrUnfit},
		"global":                       {replicated("EVENTUAL"), false, nil},
		"global and strong":            {replicated("STRONG"), true, nil},
		"global, of old, and not said": {replicated(""), true, ErrUnfit},
		"global and not strong":        {replicated("EVENTUAL"), true, ErrUnfit},
		"in one Region, strong":        {func(map[string]any) {}, true, nil},
	} {
		s := newService(t)
		c.edit(s.describe)
		config := s.config()
		config.Strong = c.strong
		e, err := Open(t.Context(), 1, config)
		if err == nil {
			_ = e.Close() // never fails
		}
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: Open = %v, want %v", name, err, c.want)
		}
	}
}

func replicated(consistency string) func(map[string]any) {
	return func(d map[string]any) {
		d["Replicas"] = []any{map[string]any{"RegionName": "us-east-1"}}
		if consistency != "" {
			d["MultiRegionConsistency"] = consistency
		}
	}
}

func TestTimeToLiveIsLookedAt(t *testing.T) {
	for ttl, warns := range map[string]bool{attrExpiry: false, "": true, "other": true} {
		s := newService(t)
		s.ttl = ttl
		var said bytes.Buffer
		s.open(t, 1, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&said, nil)) })
		if strings.Contains(said.String(), "turn on time to live") != warns {
			t.Errorf("with time to live by %q the log says %q, want a warning: %v", ttl, said.String(), warns)
		}
	}
	s := newService(t)
	s.breakAt("DescribeTimeToLive", fault{status: 400, code: "AccessDeniedException"}, 0)
	s.open(t, 1) // who may not ask goes without
}

func TestConfigIsChecked(t *testing.T) {
	good := Config{Table: "sessions", Region: "us-west-2"}
	for want, edit := range map[string]func(*Config){
		"":                            func(*Config) {},
		"Table \"\"":                  func(c *Config) { c.Table = "" },
		"Table \"a/b\"":               func(c *Config) { c.Table = "a/b" },
		"is not in Region":            func(c *Config) { c.Table = "arn:aws:dynamodb:us-east-1:123456789012:table/sessions" },
		"Region \"California\"":       func(c *Config) { c.Region = "California" },
		"Connections -1":              func(c *Config) { c.Connections = -1 },
		"is not of this machine":      func(c *Config) { c.Endpoint = "http://dynamodb.internal:8000" },
		"want http:// or https://":    func(c *Config) { c.Endpoint = "dynamodb.internal:8000" },
		"want 1 to 15; Table; Region": func(c *Config) { *c = Config{} },
	} {
		c, here := good, crdt.Region(1)
		if edit(&c); c.Table+c.Region == "" {
			here = 0
		}
		err := c.withDefaults().check(here)
		if want == "" {
			if err != nil {
				t.Errorf("check(%+v) = %v, want nil", c, err)
			}
			continue
		}
		for part := range strings.SplitSeq(want, "; ") {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("check(%+v) = %v, want %q in it", c, err, part)
			}
		}
	}
	for _, fine := range []Config{
		{Table: "arn:aws:dynamodb:us-west-2:123456789012:table/sessions", Region: "us-west-2"},
		{Table: "abc", Region: "us-gov-west-1", Endpoint: "http://localhost:8000"},
		{Table: "abc", Region: "ap-southeast-2", Endpoint: "http://10.0.0.1:8000", Plaintext: true},
	} {
		if err := fine.withDefaults().check(1); err != nil {
			t.Errorf("check(%+v) = %v, want nil", fine, err)
		}
	}
}

// What has idled out elsewhere is not written down where nothing is known of it.
func TestLateStateIsNotWritten(t *testing.T) {
	s := newService(t)
	e := s.open(t, 1)
	k, long := newKey(), crdt.Origin{Actor: crdt.NewActor(2, 1), Now: now().Add(-time.Hour)}
	op := birthOp("ann")
	op.Stamp, op.Birth = long.Now.Stamp(), &crdt.Birth{Idle: time.Minute}
	r, _, err := crdt.Apply(crdt.Record{Key: k}, op, long)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Join(t.Context(), r); err != nil || count(s.operations(), "PutItem") != 0 {
		t.Errorf("Join of what has idled out = %v, and %d writes, want none", err, count(s.operations(), "PutItem"))
	}
}

// Tries have a bound in time and in number, and who gives up does not wait first.
func TestTriesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun, tr := time.Now(), newTries()
		for tr.again(t.Context()) {
		}
		if took := time.Since(begun); took > retryFor || took < retryFor/2 {
			t.Errorf("tries went on for %v, want about %v and no more", took, retryFor)
		}
		tr, n := newTries(), 1
		for tr.until = time.Now().Add(time.Hour); tr.again(t.Context()); n++ {
		}
		if n != maxTries {
			t.Errorf("%d tries, want %d", n, maxTries)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if newTries().again(ctx) {
			t.Error("another try after the context ended")
		}
	})
}
