package postgres

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// sample returns a key of a session, and one of a user.
func sample() (session, user crdt.Key) {
	id := crdt.NewSessionID(crdt.TimeOf(time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)), 3, crdt.IDEntropy{0, 9, 1, 2, 3, 255})
	return crdt.SessionKey(id), crdt.UserKey("ann")
}

func TestRecordIDIsReadAgain(t *testing.T) {
	session, user := sample()
	for _, k := range []crdt.Key{session, user} {
		id := recordID(k)
		got, err := parseRecordID(id)
		if err != nil || got != k {
			t.Errorf("parseRecordID(%q) = %v, %v, want %v", id, got, err, k)
		}
		p := int(k.Partition())
		if id <= partitionsEnd(p) || id >= partitionsEnd(p+1) {
			t.Errorf("ID %q is not between %q and %q", id, partitionsEnd(p), partitionsEnd(p+1))
		}
	}
}

func TestNoOtherIDIsRead(t *testing.T) {
	session, user := sample()
	id, of := recordID(session), recordID(user)
	for _, bad := range []string{
		"", id[1:], id + "0", "zz" + id[2:], strings.ToUpper(id), id[:2] + "u" + id[3:], id[:2] + "x" + id[3:],
		"3f" + id[2:], of[:2] + "s" + of[3:], id[:34] + "g",
	} {
		if k, err := parseRecordID(bad); !errors.Is(err, engine.ErrCorrupt) {
			t.Errorf("parseRecordID(%q) = %v, %v, want ErrCorrupt", bad, k, err)
		}
	}
}

func TestStateOfAnotherRecordIsCorrupt(t *testing.T) {
	session, user := sample()
	state := crdt.AppendRecord(nil, crdt.Record{Key: session, Dead: true})
	if _, err := decodeState(session, state); err != nil {
		t.Errorf("decodeState = %v, want no error", err)
	}
	if _, err := decodeState(user, state); !errors.Is(err, engine.ErrCorrupt) {
		t.Errorf("decodeState(of another key) = %v, want ErrCorrupt", err)
	}
	if _, err := decodeState(session, state[1:]); !errors.Is(err, engine.ErrCorrupt) {
		t.Errorf("decodeState(cut short) = %v, want ErrCorrupt", err)
	}
}

func TestTimesAreReadAgain(t *testing.T) {
	for _, at := range []crdt.Time{0, 1, 90_000_000_123, 1<<63 - 1} {
		if got := fromUnixMilli(unixMilli(at)); got != at {
			t.Errorf("fromUnixMilli(unixMilli(%d)) = %d", at, got)
		}
	}
}

// Actors: NewActor(1, 1), (1, 2) and (1, 3).
const (
	one   crdt.Actor = 1<<20 | 1
	two   crdt.Actor = 1<<20 | 2
	three crdt.Actor = 1<<20 | 3
)

func TestErasAreReadAgain(t *testing.T) {
	eras := []era{{one, 0}, {two, 7}, {three, 7}}
	b := appendEras(nil, eras)
	if got, err := decodeEras(b); err != nil || !slices.Equal(got, eras) {
		t.Errorf("decodeEras = %v, %v, want %v", got, err, eras)
	}
	for what, b := range map[string][]byte{
		"cut short":          b[1:],
		"too many":           bytes.Repeat(b[:eraBytes], maxEras+1),
		"of no Region":       make([]byte, eraBytes),
		"not in their order": appendEras(nil, []era{{one, 7}, {two, 6}}),
	} {
		if got, err := decodeEras(b); !errors.Is(err, engine.ErrCorrupt) {
			t.Errorf("decodeEras(%s) = %v, %v, want ErrCorrupt", what, got, err)
		}
	}
}

// The story of one log: a server, itself after it was started anew, and a standby that
// has less.
func TestServerTakesOver(t *testing.T) {
	var j journal
	if changed, entry := j.takeOver(10, one); !changed || entry || j.actor() != one || j.position() != (engine.Position{}) {
		t.Errorf("first server: changed %v, entry %v, %+v, want its actor and no entry", changed, entry, j)
	}
	j.head = 5
	if changed, entry := j.takeOver(10, two); changed || entry || j.actor() != one {
		t.Errorf("same server: changed %v, entry %v, %+v, want nothing", changed, entry, j)
	}
	if changed, entry := j.takeOver(20, two); !changed || !entry || j.actor() != two {
		t.Errorf("next server: changed %v, entry %v, %+v, want its actor and an entry", changed, entry, j)
	}
}

// Readers of a log that two have written, who may have been told of more by the first.
func TestReadersOfTwoEras(t *testing.T) {
	j := journal{head: 8, eras: []era{{one, 0}, {two, 5}}}
	for from, want := range map[engine.Position]uint64{
		{}:                   0,
		{Actor: one, N: 3}:   3,
		{Actor: one, N: 7}:   5, // has what was lost
		{Actor: two, N: 6}:   6,
		{Actor: two, N: 9}:   0, // of a two that is none of ours
		{Actor: three, N: 6}: 0,
	} {
		if got := j.after(from); got != want {
			t.Errorf("after(%v) = %d, want %d", from, got, want)
		}
	}
	for n, want := range map[uint64]era{1: {one, 0}, 5: {one, 0}, 6: {two, 5}, 8: {two, 5}} {
		last := map[crdt.Actor]uint64{one: 5, two: 8}[want.actor]
		if got, upto := j.eraOf(n); got != want || upto != last {
			t.Errorf("eraOf(%d) = %v up to %d, want %v up to %d", n, got, upto, want, last)
		}
	}
	if got := j.position(); got != (engine.Position{Actor: two, N: 8}) {
		t.Errorf("position = %v, want 8 of the second", got)
	}
}

func TestOldErasAreForgotten(t *testing.T) {
	j := journal{head: 1, eras: []era{{one, 0}}, server: 1}
	for i := range int64(2 * maxEras) {
		j.takeOver(2+i, crdt.NewActor(1, uint32(10+i))) //nolint:gosec // small
		j.head++
	}
	if len(j.eras) != maxEras || j.after(engine.Position{Actor: one, N: 1}) != 0 {
		t.Errorf("%d eras, after(the first) = %d, want %d and 0", len(j.eras), j.after(engine.Position{Actor: one, N: 1}), maxEras)
	}
	if got, err := decodeEras(appendEras(nil, j.eras)); err != nil || !slices.Equal(got, j.eras) {
		t.Errorf("decodeEras = %v, %v, want %v", got, err, j.eras)
	}
}

func FuzzParseRecordID(f *testing.F) {
	session, user := sample()
	f.Add(recordID(session))
	f.Add(recordID(user))
	f.Add("00s")
	f.Fuzz(func(t *testing.T, id string) {
		k, err := parseRecordID(id)
		if err == nil && recordID(k) != id {
			t.Errorf("parseRecordID(%q) = %v, whose ID is %q", id, k, recordID(k))
		}
	})
}

func FuzzDecodeEras(f *testing.F) {
	f.Add(appendEras(nil, []era{{one, 0}, {two, 7}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		eras, err := decodeEras(b)
		if err == nil && !bytes.Equal(appendEras(nil, eras), b) {
			t.Errorf("decodeEras(%x) = %v, which is other bytes", b, eras)
		}
	})
}

func FuzzDecodeRow(f *testing.F) {
	session, _ := sample()
	f.Add(crdt.AppendRecord(nil, crdt.Record{Key: session, Dead: true}))
	_, frag, _ := crdt.Apply(crdt.Record{Key: session}, crdt.Op{Destroy: true}, crdt.Origin{Actor: one, Now: 1})
	f.Add(crdt.AppendFragment(nil, frag))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := decodeState(session, b); err == nil && !bytes.Equal(crdt.AppendRecord(nil, r), b) {
			t.Errorf("decodeState(%x) = %+v, which is other bytes", b, r)
		}
		if frag, err := decodeEntry(b); err == nil && len(b) > 0 && !bytes.Equal(crdt.AppendFragment(nil, frag), b) {
			t.Errorf("decodeEntry(%x) = %+v, which is other bytes", b, frag)
		}
	})
}
