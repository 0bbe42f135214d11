package crdt_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/roam-sessions/roam/crdt"
)

func TestSessionIDLayout(t *testing.T) {
	e := crdt.IDEntropy{0x12, 0x85, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	want := "01020304" + "0005" + "0f" + "010203040506070809"
	id := crdt.NewSessionID(crdt.Time(0x01020304)*1000+999, 15, e)
	if got := hex.EncodeToString(id[:]); got != want {
		t.Fatalf("NewSessionID = %s, want %s", got, want)
	}
	if id.Deadline() != crdt.Time(0x01020304)*1000 || id.Partition() != 5 || id.Birth() != 15 {
		t.Errorf("deadline %v partition %d birth %d, want %v, 5, 15", id.Deadline(), id.Partition(), id.Birth(), 0x01020304*1000)
	}
}

func TestSessionIDs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		deadline := crdt.Time(rapid.Int64Range(0, 1<<32*1000-1).Draw(t, "deadline"))
		region := crdt.Region(rapid.IntRange(1, 15).Draw(t, "region"))
		var e, other crdt.IDEntropy
		copy(e[:], rapid.SliceOfN(rapid.Byte(), len(e), len(e)).Draw(t, "entropy"))
		id := crdt.NewSessionID(deadline, region, e)
		if d := id.Deadline(); d > deadline || deadline-d >= 1000 {
			t.Fatalf("deadline %d became %d, want it rounded down to the second", deadline, d)
		}
		if id.Partition() >= crdt.Partitions || id.Birth() != region || id.IsZero() {
			t.Fatalf("partition %d, birth %d", id.Partition(), id.Birth())
		}
		back, err := crdt.ParseSessionID(id[:])
		if err != nil || back != id {
			t.Fatalf("ParseSessionID = %v, %v, want %v", back, err, id)
		}
		key, err := crdt.ParseKey(crdt.KindSession, id[:])
		if err != nil || key != crdt.SessionKey(id) || key.SessionID() != id || key.Partition() != id.Partition() {
			t.Fatalf("ParseKey = %v, %v, want %v", key, err, crdt.SessionKey(id))
		}
		// All entropy beyond the partition's ends up in the ID.
		i := rapid.IntRange(2, len(e)-1).Draw(t, "changed byte")
		other = e
		other[i] ^= 1 << rapid.IntRange(0, 7).Draw(t, "changed bit")
		if crdt.NewSessionID(deadline, region, other) == id {
			t.Fatalf("entropy byte %d is not used", i)
		}
		name := key.Name()
		name[0] ^= 0xff
		if key.SessionID() != id {
			t.Fatal("a caller changed the key through Name")
		}
	})
}

func TestPartitionsAreEven(t *testing.T) {
	var n [crdt.Partitions]int
	for i := range 1 << 16 {
		n[crdt.NewSessionID(start, 1, crdt.IDEntropy{byte(i >> 8), byte(i)}).Partition()]++
	}
	for p, got := range n {
		if got != 1<<16/crdt.Partitions {
			t.Errorf("partition %d has %d of all IDs, want %d", p, got, 1<<16/crdt.Partitions)
		}
	}
}

func TestUserKeys(t *testing.T) {
	k := crdt.UserKey("ann")
	if k == crdt.UserKey("bob") || k != crdt.UserKey("ann") || k.Kind() != crdt.KindUser || k.IsZero() {
		t.Errorf("UserKey(ann) = %v, want a key of her own", k)
	}
	if _, ok := k.Deadline(); ok || !k.SessionID().IsZero() || k.Partition() >= crdt.Partitions {
		t.Errorf("user's key has a deadline, a session or partition %d", k.Partition())
	}
	if back, err := crdt.ParseKey(crdt.KindUser, k.Name()); err != nil || back != k {
		t.Errorf("ParseKey = %v, %v, want %v", back, err, k)
	}
}

func TestParseKeyRefuses(t *testing.T) {
	id := crdt.NewSessionID(start, 1, crdt.IDEntropy{})
	badPartition, badRegion, noRegion := id, id, id
	badPartition[5], badRegion[6], noRegion[6] = 64, 16, 0
	for what, c := range map[string]struct {
		kind crdt.Kind
		name []byte
	}{
		"kind 0":       {0, id[:]},
		"kind 3":       {3, id[:]},
		"short":        {crdt.KindSession, id[:15]},
		"long":         {crdt.KindUser, make([]byte, 17)},
		"none":         {crdt.KindUser, nil},
		"partition 64": {crdt.KindSession, badPartition[:]},
		"Region 16":    {crdt.KindSession, badRegion[:]},
		"Region 0":     {crdt.KindSession, noRegion[:]},
	} {
		if k, err := crdt.ParseKey(c.kind, c.name); !errors.Is(err, crdt.ErrMalformed) {
			t.Errorf("%s: ParseKey = %v, %v, want ErrMalformed", what, k, err)
		}
	}
}

// Identifiers have no place in logs, whatever the verb.
func TestIdentifiersDoNotPrint(t *testing.T) {
	id := crdt.NewSessionID(start, 1, crdt.IDEntropy{0, 9, 0xde, 0xad, 0xbe, 0xef, 0xca, 0xfe, 0xba, 0xbe, 0x77})
	key := crdt.SessionKey(id)
	short := key.String()
	if len(short) != 10 || id.String() != short || strings.Contains(hex.EncodeToString(id[:]), short) {
		t.Fatalf("String = %q and %q, want one fingerprint", id.String(), short)
	}
	for _, verb := range []string{"%v", "%s", "%q", "%x", "%X", "%d", "%b", "%o", "%c", "%U", "%e", "%p", "%t", "%+v", "%#v", "% x", "%#x", "%30v"} {
		for what, arg := range map[string]any{
			"Key": key, "SessionID": id, "*Key": &key, "*SessionID": &id,
			"slice": []crdt.SessionID{id}, "Record": crdt.Record{Key: key}, "map": map[crdt.Key]int{key: 1},
		} {
			got := strings.ToLower(fmt.Sprintf(verb, arg))
			for _, leak := range []string{"dead", "de ad", "222", "0xde", "11011110", "336", "þ", "u+00de", "\xde\xad"} {
				if strings.Contains(strings.ReplaceAll(got, short, ""), leak) && what != "Record" && verb != "%p" {
					t.Errorf("%s of a %s prints %q", verb, what, got)
				}
			}
			if !strings.Contains(got, short) && !strings.HasPrefix(what, "*") && verb != "%p" {
				t.Errorf("%s of a %s = %q, want the fingerprint %s in it", verb, what, got, short)
			}
		}
	}
	for _, h := range []func(*bytes.Buffer) slog.Handler{
		func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var b bytes.Buffer
		slog.New(h(&b)).Info("read", "key", key, "id", id)
		if strings.Count(b.String(), short) != 2 || strings.Contains(b.String(), "222") {
			t.Errorf("log = %s, want two fingerprints", b.String())
		}
	}
}
