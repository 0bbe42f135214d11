//go:build integration

package valkey

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/drawtest"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

var (
	differences = flag.Int("ops", 20_000, "how many random operations the scripts are compared on with package crdt")
	diffSeed    = flag.Uint64("seed", 0, "of what is random; 0: by the clock")
)

// TestScriptsEqualGo applies random operations, joins and batches of other Regions'
// logs with the scripts on a real server and with engine/memory's core, which is
// package crdt, and wants every answer, record, log entry and end of a record's time
// to be the same, byte for byte. The scripts are those that ship, but for the clock,
// which the test sets, and for the expiry, which is written down instead.
func TestScriptsEqualGo(t *testing.T) {
	seed := *diffSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) //nolint:gosec // any number will do
	}
	t.Logf("-seed %d -ops %d", seed, *differences)
	d := newDiffer(t, seed)
	for done := 0; done < *differences && !t.Failed(); done += perPipeline {
		if done > 0 && done%perStory == 0 {
			d.begin()
		}
		d.run(perPipeline)
	}
	t.Logf("%d operations: %v", *differences, d.counts)
	for _, kind := range []string{"taken", "nothing", "refused", "joined", "ingested", "hole", "gap", "promoted"} {
		if d.counts[kind] < *differences/4000 {
			t.Errorf("%s in %d of %d operations: the operations are not random enough", kind, d.counts[kind], *differences)
		}
	}
}

// perPipeline is how many operations are sent at a time, and perStory after how many all begins
// anew: the users' records know of each actor that there ever was, and take ever longer.
const (
	perPipeline = 250
	perStory    = 50_000
)

// clockKey holds the clock of the scripts under test, expiryKeys the ends of records.
const (
	clockKey   = "clock"
	expiryKeys = "x"
)

func libraryUnderTest(t *testing.T) string {
	t.Helper()
	code := library()
	for _, edit := range [][2]string{
		{"local t = call('TIME')\n", "do return tonumber(redis.call('GET', '" + clockKey + "')) end\n  local t = {}\n"},
		{"call('PEXPIREAT', key, ORIGIN * 1000 + max", "call('SET', '" + expiryKeys + "' .. key, ORIGIN * 1000 + max"},
		{"if moved then call('PEXPIREAT', key, ", "if moved then call('SET', '" + expiryKeys + "' .. key, "},
		{"if expires ~= a.expires then call('PEXPIREAT', key, ", "if expires ~= a.expires then call('SET', '" + expiryKeys + "' .. key, "},
	} {
		if strings.Count(code, edit[0]) != 1 {
			t.Fatalf("the library has %d times %q, want one", strings.Count(code, edit[0]), edit[0])
		}
		code = strings.Replace(code, edit[0], edit[1], 1)
	}
	return code
}

// A differ does the same to a server and to a core.
type differ struct {
	*drawtest.Land
	t      *testing.T
	client valkey.Client
	counts map[string]int
}

func newDiffer(t *testing.T, seed uint64) *differ {
	t.Helper()
	s := valkeytest.Start(t)
	client, err := valkey.NewClient(valkey.ClientOption{InitAddress: []string{s.Addr}, DisableCache: true, AlwaysRESP2: true, ForceSingleClient: true, PipelineMultiplex: -1})
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(client.Close)
	if err := client.Do(t.Context(), client.B().FunctionLoad().FunctionCode(libraryUnderTest(t)).Build()).Error(); err != nil {
		t.Fatalf("FUNCTION LOAD: %v", err)
	}
	d := &differ{Land: drawtest.New(seed), t: t, client: client, counts: map[string]int{}}
	d.begin()
	return d
}

// begin has both be empty.
func (d *differ) begin() {
	d.t.Helper()
	if err := d.client.Do(d.t.Context(), d.client.B().Flushall().Build()).Error(); err != nil {
		d.t.Fatalf("FLUSHALL: %v", err)
	}
	d.Empty()
}

// A step is what was sent, and what the core made of it.
type step struct {
	what  string
	cmds  valkey.Commands // the first is the one whose reply counts
	key   crdt.Key        // that may have changed; zero: none
	reply string
	err   error
	rec   crdt.Record
	ends  crdt.Time  // of the record's time; 0: not looked at
	entry string     // the newest of the log; empty if none was written
	frags []crdt.Key // of a batch, whose reply names its gaps by number
}

// run does n random things to both and compares.
func (d *differ) run(n int) {
	d.t.Helper()
	var cmds valkey.Commands
	var steps []step
	var at []int // of the reply of each step
	for range n {
		d.Tick()
		cmds = append(cmds, d.client.B().Set().Key(clockKey).Value(fmt.Sprint(int64(d.Now))).Build())
		s := d.draw()
		at, steps = append(at, len(cmds)), append(steps, s)
		cmds = append(cmds, s.cmds...)
		if !s.key.IsZero() {
			key, log := recordKey(s.key), partitionKey(logKeys, s.key.Partition())
			cmds = append(cmds, d.client.B().Hgetall().Key(key).Build(), d.client.B().Get().Key(expiryKeys+key).Build(),
				d.client.B().Xrevrange().Key(log).End("+").Start("-").Count(1).Build())
		}
	}
	ctx, cancel := context.WithTimeout(d.t.Context(), time.Minute)
	defer cancel()
	replies := d.client.DoMulti(ctx, cmds...)
	for i, s := range steps {
		if err := s.compare(ctx, replies[at[i]:]); err != nil {
			d.t.Errorf("%s\n%v", s.what, err)
			return
		}
		switch {
		case s.err != nil:
			d.counts["refused"]++
		case s.entry != "":
			d.counts["taken"]++
		case s.reply == "":
			d.counts["nothing"]++
		}
	}
}

// compare returns how what the server made differs from what the core did.
func (s step) compare(ctx context.Context, replies []valkey.ValkeyResult) error {
	reply, err := replies[0].ToString()
	if valkey.IsValkeyNil(err) {
		err = nil
	}
	err = classify(ctx, err)
	if kind := drawtest.KindOf(s.err); !errors.Is(err, kind) || kind == nil && err != nil {
		return fmt.Errorf("error = %w, want %q", err, fmt.Sprint(s.err))
	}
	if reply = s.named(reply); err == nil && reply != s.reply {
		return fmt.Errorf("reply = %x, want %x", reply, s.reply)
	}
	if s.key.IsZero() {
		return nil
	}
	return s.compareStored(replies[len(s.cmds):])
}

// named returns the reply to a batch with the names of records that have gaps in
// place of their numbers.
func (s step) named(reply string) string {
	if s.frags == nil || len(reply) <= eraBytes+1 {
		return reply
	}
	out := reply[:eraBytes+1]
	for gaps := reply[eraBytes+1:]; len(gaps) >= 2; gaps = gaps[2:] {
		out += string(s.frags[binary.BigEndian.Uint16([]byte(gaps[:2]))].Name())
	}
	return out
}

// compareStored returns how the record, its end and the newest log entry differ.
func (s step) compareStored(replies []valkey.ValkeyResult) error {
	hash, err := replies[0].ToArray()
	if err != nil {
		return err
	}
	got, err := decodeReply(s.key, hash)
	if err != nil || string(crdt.AppendRecord(nil, got)) != string(crdt.AppendRecord(nil, s.rec)) {
		return fmt.Errorf("record = %+v, %w, want %+v", got, err, s.rec)
	}
	if ends, _ := replies[1].AsInt64(); s.ends != 0 && crdt.TimeOf(time.UnixMilli(ends+1)) != s.ends {
		return fmt.Errorf("the record's time ends at %d, want %d", crdt.TimeOf(time.UnixMilli(ends+1)), s.ends)
	}
	entries, err := replies[2].AsXRange()
	if err != nil {
		return err
	}
	if s.entry == "" {
		return nil
	}
	if len(entries) != 1 {
		return fmt.Errorf("%d newest entries, want one", len(entries))
	}
	frag, err := decodeEntry(entries[0].FieldValues["d"])
	if got := entries[0].ID + " " + string(crdt.AppendFragment(nil, frag)); err != nil || got != s.entry {
		return fmt.Errorf("newest entry = %q, %w, want %q", entries, err, s.entry)
	}
	return nil
}

func (d *differ) draw() step {
	switch n := d.Rng.IntN(1000); {
	case n < 600:
		return d.drawApply()
	case n < 720:
		return d.drawJoin()
	case n < 995:
		return d.drawIngest()
	}
	return d.drawPromotion()
}

func (d *differ) drawApply() step {
	k := d.Key()
	op := d.Op(k, d.Core)
	dot, err := d.Core.Apply(d.Now, k, op)
	s := step{what: fmt.Sprintf("Apply(%x, %+v) at %d", k.Name(), op, d.Now), key: k, err: err, rec: d.Core.Read(-1, k)}
	if !dot.IsZero() {
		s.reply, s.entry, s.ends = string(crdt.AppendDot(nil, dot)), d.newest(k.Partition()), d.end(s.rec)
	}
	p := k.Partition()
	s.cmds = valkey.Commands{d.client.B().Fcall().Function("roam_v1_apply").Numkeys(3).
		Key(recordKey(k), partitionKey(metaKeys, p), partitionKey(logKeys, p)).
		Arg(d.caller(), string(crdt.AppendOp(nil, op))).Build()}
	return s
}

// end returns when the scripts are to let r expire.
func (d *differ) end(r crdt.Record) crdt.Time {
	until, _ := r.KeepUntil()
	return max(until, d.Now.Add(time.Minute))
}

func (d *differ) caller() string { return callerOf(d.Actor, 0, 1<<40, 0) }

// newest returns the newest entry of a partition's log.
func (d *differ) newest(p uint16) string {
	head := d.Core.Head(p)
	b, _ := d.Core.Log(p, engine.Position{Actor: head.Actor, N: head.N - 1}, 1, 1<<30)
	return fmt.Sprint(entryPrefix, head.N, " ") + string(crdt.AppendFragment(nil, b.Frags[0]))
}

func (d *differ) drawJoin() step {
	k := d.Key()
	r := d.Record(k)
	d.Core.Join(d.Now, r)
	d.counts["joined"]++
	s := step{what: fmt.Sprintf("Join(%x, %+v) at %d", k.Name(), r, d.Now), key: k, rec: d.Core.Read(-1, k)}
	if !s.rec.IsBottom() {
		s.ends = d.end(s.rec)
	}
	s.cmds = valkey.Commands{d.client.B().Fcall().Function("roam_v1_join").Numkeys(1).Key(recordKey(k)).
		Arg(string(crdt.AppendRecord(nil, r))).Build()}
	return s
}

// drawIngest has a peer write and gives a piece of its log to both, as it is or
// not quite.
func (d *differ) drawIngest() step {
	p := d.Peer()
	b := d.Piece(p)
	part := b.Partition
	s := step{what: fmt.Sprintf("Ingest(%+v) at %d", b, d.Now), frags: []crdt.Key{}}
	keys, args := []string{cursorKey(part, p.Region)}, []string{string(batchHead(b))}
	for _, f := range b.Frags {
		k := f.Effect.Key
		s.frags = append(s.frags, k)
		if k.IsZero() {
			keys, args = append(keys, keys[0]), append(args, "")
			continue
		}
		s.key = k
		keys, args = append(keys, recordKey(k)), append(args, string(appendEntry(nil, f)))
	}
	got, err := d.Core.Ingest(d.Now, p.Region, b)
	if err != nil {
		d.t.Fatalf("%s = %v, want it taken", s.what, err)
	}
	reply := appendPosition(nil, got.Position)
	d.counts["ingested"]++
	if got.Hole {
		d.counts["hole"]++
		reply = append(reply, 1)
	} else {
		reply = append(reply, 0)
	}
	for _, k := range got.Gaps {
		d.counts["gap"]++
		reply = append(reply, k.Name()...)
	}
	s.reply = string(reply)
	if !s.key.IsZero() {
		s.rec = d.Core.Read(-1, s.key)
	}
	s.cmds = valkey.Commands{d.client.B().Fcall().Function("roam_v1_ingest").Numkeys(int64(len(keys))).Key(keys...).Arg(args...).Build()}
	return s
}

// drawPromotion has another server take over, as far as the scripts can tell.
func (d *differ) drawPromotion() step {
	const script = `for _, key in ipairs(ARGV) do
	local m = redis.call('GET', key)
	if m then redis.call('SET', key, string.rep('0', 40) .. string.sub(m, 41)) end
end`
	d.counts["promoted"]++
	d.Actor = d.NewActor(1)
	d.Core.Promote(d.Actor)
	s := step{what: "promotion"}
	var metas []string
	for p := range uint16(crdt.Partitions) {
		metas = append(metas, partitionKey(metaKeys, p))
		s.cmds = append(s.cmds, d.client.B().Fcall().Function("roam_v1_head").Numkeys(2).
			Key(partitionKey(metaKeys, p), partitionKey(logKeys, p)).Arg(d.caller()).Build())
	}
	s.cmds = append(valkey.Commands{d.client.B().Eval().Script(script).Numkeys(0).Arg(metas...).Build()}, s.cmds...)
	return s
}
