package roam

import (
	"reflect"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/internal/proof"
)

// stored is a type with all that a field's type is likely to have.
type stored struct {
	Name  string
	Count int
	Items []string
	Notes map[string]uint8
	Inner *stored
	Any   any
}

// FuzzValue: whatever bytes a field holds, reading it fails or gives a value that
// can be stored again; it never panics, and a failure gives nothing half read.
func FuzzValue(f *testing.F) {
	for _, x := range []any{
		"light", 7, -1, nil, true, 1.5,
		[]string{"a"},
		map[string]int{"a": 1},
		stored{Name: "a", Items: []string{"b"}, Notes: map[string]uint8{"c": 1}, Inner: &stored{Count: 2}, Any: []any{1, "x"}},
	} {
		b, err := cbor.Marshal(x)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &Session{view: view{standing: proof.Standing{Record: crdt.Record{
			Fields: []crdt.Field{{Name: ".x", Value: b}},
		}}}}
		lookUp(t, s, Value[stored]("x"))
		lookUp(t, s, Value[string]("x"))
		lookUp(t, s, Value[int]("x"))
		lookUp(t, s, Value[map[string][]byte]("x"))
	})
}

func lookUp[T any](t *testing.T, s *Session, v Value[T]) {
	t.Helper()
	x, ok, err := v.Lookup(s)
	if !ok {
		t.Fatalf("there is no field")
	}
	var none T
	if err != nil {
		if !reflect.DeepEqual(x, none) {
			t.Errorf("Lookup = %+v with %v, want nothing half read", x, err)
		}
		return
	}
	if _, err := cbor.Marshal(x); err != nil {
		t.Errorf("%+v was read and can't be stored: %v", x, err)
	}
}
