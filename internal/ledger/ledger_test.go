package ledger_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/roam-sessions/roam/internal/judge"
	"github.com/roam-sessions/roam/internal/judge/routing"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/quorum"
)

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// A book applies commands, one a second, and wants each to be taken or refused.
type book struct {
	*testing.T
	ledger.State
	index uint64
}

func (b *book) try(c ledger.Command) error {
	b.index++
	c.At = noon.Add(time.Duration(b.index) * time.Second)
	raw, err := c.Encode()
	if err != nil {
		b.Fatal(err)
	}
	if c, err = ledger.Decode(raw); err != nil {
		b.Fatal(err)
	}
	was := b.State
	b.State, err = b.Apply(b.index, c)
	if err != nil && !cmp.Equal(was, b.State) {
		b.Errorf("a refused command changed the state: %s", cmp.Diff(was, b.State))
	}
	return err
}

func (b *book) do(c ledger.Command) {
	b.Helper()
	if err := b.try(c); err != nil {
		b.Fatalf("%s: %v", says(c), err)
	}
}

func (b *book) refuses(c ledger.Command, want error) {
	b.Helper()
	if err := b.try(c); !errors.Is(err, want) {
		b.Errorf("%s: %v, want %v", says(c), err, want)
	}
}

func says(c ledger.Command) string { raw, _ := c.Encode(); return string(raw) }

func setup(version uint64, regions ...string) *ledger.Describe {
	return &ledger.Describe{Epoch: 7, Setup: ledger.Setup{
		Version: version, Regions: regions, Leases: true, Primary: regions[0],
		Controls: []routing.Control{{Name: "write-east", Region: "east", Writer: true}, {Name: "write-west", Region: "west", Writer: true}},
		Rules:    []routing.Rule{{Name: "one", Type: routing.AtLeast, Threshold: 1, Controls: []string{"write-east", "write-west"}}},
	}}
}

func founded(t *testing.T) *book {
	b := &book{T: t}
	b.refuses(ledger.Command{Renew: &ledger.Renew{Epoch: 1, Region: "east"}}, ledger.ErrInvalid)
	b.do(ledger.Command{Describe: setup(1, "east", "west", "north")})
	if b.Lease.Epoch != 7 || b.Lease.Holder != "east" || !b.Routing.On["write-east"] {
		t.Fatalf("founded: %+v, %+v, want epoch 7 of east, and its writer's control on", b.Lease, b.Routing)
	}
	return b
}

func (b *book) renew(epoch uint64, region string) ledger.Command {
	return ledger.Command{Renew: &ledger.Renew{Epoch: epoch, Region: region}}
}

// A lease is ended, and granted to another only if nobody renewed since; the receipt holds
// its Region back until it is closed.
func TestFailover(t *testing.T) {
	b := founded(t)
	b.refuses(ledger.Command{Describe: setup(1, "east", "west")}, ledger.ErrConflict)
	b.do(b.renew(7, "east"))
	b.refuses(b.renew(7, "west"), ledger.ErrStale)
	b.refuses(b.renew(8, "west"), ledger.ErrStale)
	grant := func(renewals uint64) ledger.Command {
		return ledger.Command{Grant: &ledger.Grant{Newest: 7, Renewals: renewals, To: "west", Lag: 0.2}}
	}
	b.refuses(grant(1), ledger.ErrInvalid) // it was not ended
	b.do(ledger.Command{Depose: &ledger.Depose{Epoch: 7, Wish: "west", Why: "lost"}})
	b.refuses(b.renew(7, "east"), ledger.ErrStale)
	b.refuses(grant(0), ledger.ErrConflict)
	if b.Idle() || b.Next() != 8 {
		t.Errorf("Idle %v, Next %d of a deposed epoch 7, want false and 8", b.Idle(), b.Next())
	}
	b.do(grant(1))
	b.refuses(grant(1), ledger.ErrConflict)
	if l := b.Lease; l.Epoch != 8 || l.Holder != "west" || l.From != "east" || !l.Unplanned || l.Deposed {
		t.Errorf("the lease is %+v, want epoch 8 of west, unplanned", l)
	}
	if b.Routing.On["write-east"] || !b.Routing.On["write-west"] {
		t.Errorf("controls %v do not follow the lease", b.Routing.On)
	}
	if r, open := b.Owes("east"); !open || r.Epoch != 7 || r.To != "west" {
		t.Fatalf("Owes = %+v, %v, want the receipt of epoch 7", r, open)
	}
	b.refuses(ledger.Command{Plan: &ledger.Plan{To: "east"}}, ledger.ErrConflict)
	b.refuses(ledger.Command{Readmit: &ledger.Readmit{Region: "east"}}, ledger.ErrConflict)
	b.do(ledger.Command{Salvage: &ledger.Salvage{Epoch: 7, Closed: true, Counts: map[ledger.Fate]uint64{ledger.Recovered: 3}}})
	b.refuses(ledger.Command{Salvage: &ledger.Salvage{Epoch: 7}}, ledger.ErrStale)
	b.do(ledger.Command{Plan: &ledger.Plan{To: "east"}})
}

// An operator hands over; the quorum learns that the target has begun.
func TestSwitchover(t *testing.T) {
	b := founded(t)
	b.refuses(ledger.Command{Plan: &ledger.Plan{To: "east"}}, ledger.ErrInvalid)
	b.do(ledger.Command{Plan: &ledger.Plan{To: "west", By: "ann"}})
	b.refuses(ledger.Command{Plan: &ledger.Plan{To: "north"}}, ledger.ErrBusy)
	b.do(b.renew(7, "east"))
	b.do(b.renew(8, "west"))
	step := func(s ledger.Step) ledger.Command { return ledger.Command{Advance: &ledger.Advance{Epoch: 8, Step: s}} }
	b.refuses(step(ledger.Repointing), ledger.ErrConflict)
	b.do(step(ledger.Draining))
	b.refuses(step(ledger.Failed), ledger.ErrConflict) // too late: the target may have begun
	b.refuses(b.renew(7, "east"), ledger.ErrStale)
	b.do(b.renew(8, "west"))
	b.do(step(ledger.Repointing))
	b.refuses(b.renew(7, "east"), ledger.ErrStale)
	if l := b.Lease; l.Epoch != 8 || l.Holder != "west" || l.Unplanned || l.Renewals != 3 {
		t.Errorf("the lease is %+v, want epoch 8 of west, planned, after 3 renewals", l)
	}
	b.do(step(ledger.Done))
	if _, open := b.Owes("east"); open {
		t.Error("a planned switchover has a receipt")
	}
	if last := b.Events[len(b.Events)-1]; last.Kind != ledger.KindSwitchover || last.Seq != b.Seq {
		t.Errorf("the last event is %+v", last)
	}
}

// While a switchover is pending a released lease is not idle: its target may begin. What
// is granted then is beyond the epoch that was reserved.
func TestGrantDuringSwitchover(t *testing.T) {
	b := founded(t)
	b.do(ledger.Command{Plan: &ledger.Plan{To: "west"}})
	b.do(ledger.Command{Advance: &ledger.Advance{Epoch: 8, Step: ledger.Draining}})
	b.do(ledger.Command{Release: &ledger.Release{Epoch: 7, Region: "east"}})
	if b.Idle() {
		t.Error("Idle with a target that may begin")
	}
	b.do(ledger.Command{Grant: &ledger.Grant{Newest: 8, To: "north"}})
	if b.Lease.Epoch != 9 || b.Handover.Step != ledger.Failed {
		t.Errorf("granted %d, the switchover is %s; want 9, failed", b.Lease.Epoch, b.Handover.Step)
	}
	for region, epoch := range map[string]uint64{"east": 7, "west": 8} { // west may have begun
		if r, owes := b.Owes(region); !owes || r.Epoch != epoch {
			t.Errorf("Owes(%s) = %+v, %v, want the receipt of epoch %d", region, r, owes, epoch)
		}
	}
	b.refuses(ledger.Command{Advance: &ledger.Advance{Epoch: 8, Step: ledger.Repointing}}, ledger.ErrConflict)
	b.refuses(b.renew(8, "west"), ledger.ErrStale)
}

// Once the lease is to be granted anew the target of a switchover is renewed no more:
// nobody could ever grant it else.
func TestDeposedDuringSwitchover(t *testing.T) {
	b := founded(t)
	b.do(ledger.Command{Plan: &ledger.Plan{To: "west"}})
	b.do(ledger.Command{Advance: &ledger.Advance{Epoch: 8, Step: ledger.Draining}})
	b.do(b.renew(8, "west"))
	b.do(ledger.Command{Depose: &ledger.Depose{Epoch: 7, Wish: "east"}})
	b.refuses(b.renew(8, "west"), ledger.ErrStale)
	b.do(ledger.Command{Grant: &ledger.Grant{Newest: 8, Renewals: 1, To: "east"}})
}

// Regions come and go, but for the one that holds the lease.
func TestDescribe(t *testing.T) {
	b := founded(t)
	b.refuses(ledger.Command{Describe: setup(2, "west", "north")}, ledger.ErrInvalid)
	b.do(ledger.Command{Describe: setup(2, "east", "west", "south")})
	if text := b.Events[len(b.Events)-1].Text; !strings.Contains(text, "with south") || !strings.Contains(text, "without north") {
		t.Errorf("the event says %q", text)
	}
	if b.Lease.Epoch != 7 {
		t.Errorf("another file changed the epoch to %d", b.Lease.Epoch)
	}
}

// What a judge found before it heard that a Region was readmitted does not undo that.
func TestReadmit(t *testing.T) {
	b := founded(t)
	found := func(readmits uint64) {
		watch := ledger.Watch{Judge: judge.State{Left: []string{"north"}}}
		b.do(ledger.Command{Watched: &ledger.Watched{Epoch: 7, Readmits: readmits, Watch: watch}})
	}
	found(0)
	b.do(ledger.Command{Readmit: &ledger.Readmit{Region: "north"}})
	found(0)
	if left := b.Watch.Judge.Left; len(left) > 0 {
		t.Errorf("%q may not be promoted, though readmitted", left)
	}
	found(1)
	if left := b.Watch.Judge.Left; len(left) != 1 {
		t.Errorf("%q may not be promoted, want north, which was lost again", left)
	}
}

// A note tells of events, and what the judge must not forget stays, in whatever epoch.
func TestNote(t *testing.T) {
	b := founded(t)
	b.do(ledger.Command{Watched: &ledger.Watched{Epoch: 7, Watch: ledger.Watch{Away: []string{"north"}}}})
	before := b.Seq
	b.do(ledger.Note(ledger.Event{Kind: ledger.KindNames, Region: "east", Epoch: 7, Text: "write.x leads to e.example"}))
	if last := b.Events[len(b.Events)-1]; b.Seq != before+1 || last.Kind != ledger.KindNames || last.Seq != b.Seq || last.Text == "" {
		t.Errorf("the last event is %+v of %d, want the note as number %d", last, b.Seq, before+1)
	}
	if away := b.Watch.Away; !slices.Equal(away, []string{"north"}) {
		t.Errorf("after a note users leave %q, want north still", away)
	}
}

// Users leave where their control is off, or where the judge says so if there is none.
func TestAway(t *testing.T) {
	d := setup(1, "east", "west", "north")
	d.Setup.Controls = append(d.Setup.Controls, routing.Control{Name: "west", Region: "west"})
	b := &book{T: t}
	b.do(ledger.Command{Describe: d})
	b.do(ledger.Command{Watched: &ledger.Watched{Epoch: 7, Watch: ledger.Watch{Away: []string{"north", "west"}}}})
	if away := b.Away(); !slices.Equal(away, []string{"west", "north"}) {
		t.Errorf("Away = %q, want west, whose control is off, and north", away)
	}
	b.do(ledger.Command{Route: &ledger.Route{Changes: []routing.Change{{Control: "west", On: true}}}})
	if away := b.Away(); !slices.Equal(away, []string{"north"}) {
		t.Errorf("Away = %q, want north: the control of west is on, whatever the judge says", away)
	}
}

func TestEventsAndReceiptsAreBounded(t *testing.T) {
	b := founded(t)
	for i := range ledger.MaxReceipts + 20 {
		to := []string{"west", "east"}[i%2]
		b.do(ledger.Command{Depose: &ledger.Depose{Epoch: b.Lease.Epoch, Wish: to, Why: strings.Repeat("x", 2000)}})
		b.do(ledger.Command{Grant: &ledger.Grant{Newest: b.Newest, Renewals: b.Lease.Renewals, To: to}})
	}
	for range ledger.MaxEvents {
		b.do(ledger.Command{Steer: &ledger.Steer{Mode: "advise"}})
	}
	if len(b.Events) != ledger.MaxEvents || len(b.Receipts) != ledger.MaxReceipts {
		t.Errorf("%d events and %d receipts, want %d and %d", len(b.Events), len(b.Receipts), ledger.MaxEvents, ledger.MaxReceipts)
	}
	if raw, err := b.Snapshot(); err != nil || len(raw) > 1<<20 {
		t.Errorf("a snapshot of %d bytes, %v, want well below 4 MiB", len(raw), err)
	}
}

// All that a receipt may name fits into one command of the quorum, and all receipts into a
// snapshot.
func TestReceiptsFit(t *testing.T) {
	item := ledger.Item{Session: strings.Repeat("f", 16), Kind: "destroy", At: noon.Add(123456789), Fate: ledger.Superseded}
	items := slices.Repeat([]ledger.Item{item}, ledger.MaxItems)
	c := ledger.Command{At: noon, Salvage: &ledger.Salvage{Epoch: 1 << 40, Items: items, Note: strings.Repeat("x", 500)}}
	if n := len(says(c)); n > quorum.MaxCommandBytes {
		t.Errorf("a command of %d bytes, at most %d may be", n, quorum.MaxCommandBytes)
	}
	s := ledger.State{}
	for range ledger.MaxReceipts {
		s.Receipts = append(s.Receipts, ledger.Receipt{Items: items, Fork: strings.Repeat("A", 1024)})
	}
	if raw, err := s.Snapshot(); err != nil || len(raw) > quorum.MaxSnapshotBytes {
		t.Errorf("a snapshot of %d bytes, %v; at most %d may be", len(raw), err, quorum.MaxSnapshotBytes)
	}
}

// Whatever is asked for: epochs only grow, and who is renewed is the holder or the target.
func TestLaws(t *testing.T) {
	regions := []string{"east", "west", "north"}
	rapid.Check(t, func(t *rapid.T) {
		s, err := ledger.State{}.Apply(1, ledger.Command{Describe: setup(1, regions...)})
		if err != nil {
			t.Fatal(err)
		}
		for i := range rapid.IntRange(1, 60).Draw(t, "steps") {
			was := s
			epoch := rapid.Uint64Range(6, s.Newest+1).Draw(t, "epoch")
			region := rapid.SampledFrom(regions).Draw(t, "region")
			c := draw(t, s, epoch, region)
			s, err = s.Apply(uint64(i)+2, c)
			if law := broken(was, s, c, err); law != "" {
				t.Fatalf("%s: %v: %s", says(c), err, law)
			}
		}
		raw, err := s.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		back, err := ledger.Restore(raw)
		if err != nil || !cmp.Equal(back, s) {
			t.Fatalf("Restore of a snapshot: %v %s", err, cmp.Diff(back, s))
		}
	})
}

// broken says which law a command has broken.
func broken(was, s ledger.State, c ledger.Command, err error) string {
	holder := c.Renew != nil && c.Renew.Epoch == was.Lease.Epoch && c.Renew.Region == was.Lease.Holder
	target := c.Renew != nil && c.Renew.Epoch == was.Handover.Epoch && c.Renew.Region == was.Handover.To
	switch {
	case s.Newest < was.Newest || s.Lease.Epoch < was.Lease.Epoch || s.Lease.Epoch > s.Newest:
		return fmt.Sprintf("epochs went from %d of %d to %d of %d", was.Lease.Epoch, was.Newest, s.Lease.Epoch, s.Newest)
	case s.Lease.Holder != was.Lease.Holder && s.Lease.Epoch == was.Lease.Epoch:
		return "another holder of the same epoch"
	case err == nil && c.Renew != nil && !holder && !target:
		return "a stranger renewed"
	case s.Lease.Renewals < was.Lease.Renewals:
		return "renewals were forgotten"
	}
	return ""
}

func draw(t *rapid.T, s ledger.State, epoch uint64, region string) (c ledger.Command) {
	switch rapid.IntRange(0, 5).Draw(t, "kind") {
	case 0:
		c.Renew = &ledger.Renew{Epoch: epoch, Region: region}
	case 1:
		c.Depose = &ledger.Depose{Epoch: epoch, Wish: region}
	case 2:
		c.Grant = &ledger.Grant{Newest: epoch, Renewals: s.Lease.Renewals, To: region}
	case 3:
		c.Plan = &ledger.Plan{To: region}
	case 4:
		steps := []ledger.Step{ledger.Draining, ledger.Repointing, ledger.Done, ledger.Failed}
		c.Advance = &ledger.Advance{Epoch: epoch, Step: rapid.SampledFrom(steps).Draw(t, "step")}
	case 5:
		c.Release = &ledger.Release{Epoch: epoch, Region: region}
	}
	return c
}

func TestRestoreRefuses(t *testing.T) {
	for _, raw := range []string{`{"v":2}`, `{"v":1,"indx":3}`, `{"v":1}{}`, `[]`, `{"v":1,"index":-1}`} {
		if _, err := ledger.Restore([]byte(raw)); err == nil {
			t.Errorf("Restore(%s) = no error", raw)
		}
		if _, err := ledger.Decode([]byte(raw)); err == nil {
			t.Errorf("Decode(%s) = no error", raw)
		}
	}
	if _, err := ledger.Restore([]byte(`{"v":2}`)); !errors.Is(err, ledger.ErrVersion) {
		t.Errorf("Restore of a later version = %v, want ErrVersion", err)
	}
}

// Bytes of a peer or a disk are taken whole or refused, and applying them ends.
func FuzzDecode(f *testing.F) {
	for _, c := range []ledger.Command{
		{At: noon, Describe: setup(1, "east", "west")},
		{Renew: &ledger.Renew{Epoch: 7, Region: "east"}},
		{Plan: &ledger.Plan{To: "west"}},
		{Watched: &ledger.Watched{Epoch: 7}},
		ledger.Note(ledger.Event{Kind: ledger.KindNames, Text: "x"}),
		{Route: &ledger.Route{Changes: []routing.Change{{Control: "write-west", On: true}}}},
	} {
		f.Add([]byte(says(c)))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := ledger.Decode(raw)
		if err != nil {
			return
		}
		again, err := c.Encode()
		if err != nil {
			t.Fatalf("what was decoded can't be encoded: %v", err)
		}
		if d, err := ledger.Decode(again); err != nil {
			t.Fatalf("Decode of what was encoded: %v", err)
		} else if more, _ := d.Encode(); !bytes.Equal(more, again) {
			t.Fatalf("encoded as %s and then as %s", again, more)
		}
		s, err := ledger.State{}.Apply(1, ledger.Command{Describe: setup(1, "east", "west")})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = s.Apply(2, c) // it must not panic
	})
}

// An operator's word that a server may be taken out of what manages it is for one Region in one
// epoch.
func TestDetach(t *testing.T) {
	b := founded(t)
	b.refuses(ledger.Command{Detach: &ledger.Detach{Epoch: 7, Region: "west"}}, ledger.ErrStale)
	b.do(ledger.Command{Depose: &ledger.Depose{Epoch: 7, Wish: "west"}})
	b.refuses(ledger.Command{Detach: &ledger.Detach{Epoch: 7, Region: "east"}}, ledger.ErrStale)
	b.do(ledger.Command{Depose: &ledger.Depose{Epoch: 7, Wish: "west", Detach: true}})
	b.do(ledger.Command{Depose: &ledger.Depose{Epoch: 7, Wish: "west"}}) // the judge goes on
	if !b.Lease.Detach {
		t.Error("the word is forgotten")
	}
	b.do(ledger.Command{Grant: &ledger.Grant{Newest: 7, To: "west"}})
	if l := b.Lease; !l.Detach || l.Epoch != 8 {
		t.Errorf("the lease is %+v, want epoch 8 of west, to be detached", l)
	}
	b.refuses(ledger.Command{Detach: &ledger.Detach{Epoch: 7, Region: "west"}}, ledger.ErrStale)
	b.do(ledger.Command{Salvage: &ledger.Salvage{Epoch: 7, Closed: true}})
	b.do(ledger.Command{Depose: &ledger.Depose{Epoch: 8, Wish: "east"}})
	b.do(ledger.Command{Grant: &ledger.Grant{Newest: 8, To: "east"}})
	if b.Lease.Detach {
		t.Error("east is to be detached, and nobody said so")
	}
	b.do(ledger.Command{Detach: &ledger.Detach{Epoch: 9, Region: "east", By: "ann"}})
	if !b.Lease.Detach {
		t.Error("nobody has heard the word")
	}
}
