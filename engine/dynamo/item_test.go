package dynamo

import (
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

var update = flag.Bool("update", false, "write testdata anew")

const testNow crdt.Time = 90_000_000_000

func testKey() crdt.Key {
	return crdt.SessionKey(crdt.NewSessionID(testNow.Add(12*time.Hour), 1, crdt.IDEntropy{0, 5, 1, 2, 3, 4, 5, 6, 7, 8, 9}))
}

// testItems are one of each kind.
func testItems(t testing.TB) []item {
	t.Helper()
	at := crdt.Origin{Actor: crdt.NewActor(2, 0xabcde), Now: testNow}
	apply := func(k crdt.Key, op crdt.Op) crdt.Record {
		op.Stamp = testNow.Stamp()
		r, _, err := crdt.Apply(crdt.Record{Key: k}, op, at)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	var out []item
	for i, r := range []crdt.Record{
		apply(testKey(), crdt.Op{Birth: &crdt.Birth{Idle: time.Hour}, Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}}, Changes: []crdt.Change{crdt.Put("theme", []byte("light"))}}),
		{Key: testKey(), Dead: true},
		apply(crdt.UserKey("ann"), crdt.Op{Revoke: true}),
	} {
		out = append(out, item{
			key: keyOf(r.Key), writer: crdt.Region(2 - i), version: version{1, 2, byte(i)}, incarnation: 0xabcde, where: testRegion, //nolint:gosec // small
			data: crdt.AppendRecord(nil, r), expiry: expiryOf(r, testNow),
		})
	}
	return out
}

// What older code wrote is read and written the same, byte for byte.
func TestVectors(t *testing.T) {
	const file = "testdata/items.txt"
	var b strings.Builder
	b.WriteString("# Items as docs/formats/dynamo.md has them, one attribute a line: name, type, value\n# (of B, hexadecimal). A session, one that was logged out, a user.\n")
	for _, it := range testItems(t) {
		b.WriteString("\n" + printItem(it.attributes()))
	}
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("items are\n%s\nwant %s as %s has them", b.String(), want, file)
	}
	for _, block := range strings.Split(string(want), "\n\n")[1:] {
		it, err := decodeItem(parseItem(t, block))
		if err != nil {
			t.Fatalf("decodeItem(%s) = %v", block, err)
		}
		if _, err := it.record(crdt.Key{}); err != nil {
			t.Errorf("record of %s: %v", block, err)
		}
		if got := printItem(it.attributes()); got != strings.TrimSpace(block)+"\n" {
			t.Errorf("item written again =\n%swant\n%s", got, block)
		}
	}
}

func printItem(attrs map[string]types.AttributeValue) (out string) {
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		switch v := attrs[name].(type) {
		case *types.AttributeValueMemberS:
			out += fmt.Sprintln(name, "S", v.Value)
		case *types.AttributeValueMemberN:
			out += fmt.Sprintln(name, "N", v.Value)
		case *types.AttributeValueMemberB:
			out += fmt.Sprintln(name, "B", hex.EncodeToString(v.Value))
		}
	}
	return out
}

func parseItem(t testing.TB, block string) map[string]types.AttributeValue {
	t.Helper()
	out := map[string]types.AttributeValue{}
	for line := range strings.Lines(strings.TrimSpace(block)) {
		var name, kind, value string
		if _, err := fmt.Sscan(line, &name, &kind, &value); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		out[name] = attribute(kind, value)
		if b, err := hex.DecodeString(value); kind == "B" && err == nil {
			out[name] = &types.AttributeValueMemberB{Value: b}
		}
	}
	return out
}

func attribute(kind, value string) types.AttributeValue {
	switch kind {
	case "S":
		return &types.AttributeValueMemberS{Value: value}
	case "N":
		return &types.AttributeValueMemberN{Value: value}
	case "B":
		return &types.AttributeValueMemberB{Value: []byte(value)}
	}
	return &types.AttributeValueMemberNULL{Value: true}
}

// FuzzDecodeItem: whatever a table holds is read or refused, and what is read is written
// the same.
func FuzzDecodeItem(f *testing.F) {
	for _, it := range testItems(f) {
		f.Add("SNBNSBN", it.key, fmt.Sprint(uint8(it.writer)), it.version[:], fmt.Sprint(it.incarnation), it.where, it.data, fmt.Sprint(it.expiry))
	}
	f.Add("SNBNSBN", "", "16", []byte{}, "-1", "", []byte{1, 1}, "1e3")
	f.Add("NNNNNNN", "1", "1", []byte("1"), "1", "1", []byte("1"), "1")
	f.Fuzz(func(t *testing.T, kinds, key, writer string, v []byte, inc, where string, data []byte, exp string) {
		if len(kinds) != 7 {
			return
		}
		attrs := map[string]types.AttributeValue{}
		for i, name := range []string{attrKey, attrWriter, attrVersion, attrActor, attrWhere, attrData, attrExpiry} {
			attrs[name] = attribute(kinds[i:i+1], []string{key, writer, string(v), inc, where, string(data), exp}[i])
		}
		it, err := decodeItem(attrs)
		if err != nil {
			if !errors.Is(err, engine.ErrCorrupt) {
				t.Errorf("decodeItem = %v, want ErrCorrupt", err)
			}
			return
		}
		again, err := decodeItem(it.attributes())
		if err != nil || again.key != it.key || again.writer != it.writer || again.version != it.version || again.expiry != it.expiry {
			t.Errorf("item written again = %+v, %v, want %+v", again, err, it)
		}
		r, err := it.record(crdt.Key{})
		switch {
		case err != nil && !errors.Is(err, engine.ErrCorrupt):
			t.Errorf("record = %v, want ErrCorrupt", err)
		case err == nil && (keyOf(r.Key) != it.key || string(crdt.AppendRecord(nil, r)) != string(it.data)):
			t.Errorf("record = %+v of another key, or of other bytes", r)
		}
	})
}

// An item's time ends when no copy of it can mean anything, in any Region.
func TestExpiry(t *testing.T) {
	unix := func(at crdt.Time) int64 { return at.Std().Unix() }
	deadline, _ := testKey().Deadline()
	idle := crdt.Record{Key: testKey(), Born: crdt.Born{Dot: crdt.Dot{Actor: 1 << 20, Stamp: 1}, Idle: time.Minute}, Touch: testNow}
	for _, r := range []crdt.Record{idle, {Key: testKey(), Dead: true}, {Key: testKey()}} {
		if got, want := expiryOf(r, testNow), unix(deadline.Add(2*time.Minute)); got != want {
			t.Errorf("expiry of %+v = %d, want %d, its deadline and 2 minutes", r, got, want)
		}
	}
	d := crdt.Dot{Actor: crdt.NewActor(1, 1), Stamp: testNow.Stamp()}
	user := crdt.EpochRecord(crdt.UserKey("ann"), d)
	if got, want := expiryOf(user, testNow), unix(testNow.Add(crdt.MaxLifetime+2*time.Minute+7*24*time.Hour)); got != want {
		t.Errorf("expiry of a revocation = %d, want %d, the longest lifetime and a week", got, want)
	}
	if got, want := expiryOf(crdt.Record{Key: crdt.UserKey("ann")}, testNow), unix(testNow.Add(7*24*time.Hour)); got != want {
		t.Errorf("expiry of a user of whom nothing is left = %d, want %d, a week", got, want)
	}
	if got := expiryOf(idle, testNow); crdt.TimeOf(time.Unix(got, 0)) < deadline.Add(2*time.Minute) {
		t.Errorf("expiry %d is before the time it stands for", got)
	}
}

// Keys in the table tell nothing of a session, and no more than logs do: they begin with
// the same fingerprint.
func TestKeysAreHashes(t *testing.T) {
	k := testKey()
	id := keyOf(k)
	if len(id) != 64 || strings.Contains(id, hex.EncodeToString(k.Name())) || !strings.HasPrefix(id, k.String()) {
		t.Errorf("key of a session in the table = %q, want a hash that begins with %v", id, k)
	}
	var name crdt.SessionID
	copy(name[:], crdt.UserKey("ann").Name())
	if name[4], name[5], name[6] = 0, 1, 1; keyOf(crdt.UserKey("ann")) == keyOf(crdt.SessionKey(name)) {
		t.Error("a user and a session have one key in the table")
	}
}
