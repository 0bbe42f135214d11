package crdt_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/roam-sessions/roam/crdt"
)

// fuzz gives f every vector and checks that what is read is written back as it
// was, and that all else is refused with ErrMalformed.
func fuzz(f *testing.F, recode func([]byte) ([]byte, error)) {
	f.Helper()
	for _, v := range vectors() {
		f.Add(readVector(f, v.name))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		out, err := recode(b)
		if err == nil && !bytes.Equal(out, before) || err != nil && !errors.Is(err, crdt.ErrMalformed) {
			t.Errorf("%x reads as %x, %v; want itself or ErrMalformed", before, out, err)
		}
		if !bytes.Equal(b, before) {
			t.Errorf("%x became %x while it was read", before, b)
		}
	})
}

func FuzzDecodeRecord(f *testing.F) {
	fuzz(f, func(b []byte) ([]byte, error) {
		r, err := crdt.DecodeRecord(b)
		if err != nil {
			return nil, err
		}
		// Every record that can be read can be used.
		_, _ = r.KeepUntil()
		_ = r.Prune(start).Epochs()
		_, _, _, _ = r.Sessions(), r.Elements("cart"), r.Count("visits"), r.Judge(start, secret(1), r.VV)
		return encode(crdt.Join(r, r)), nil
	})
}

func FuzzDecodeFragment(f *testing.F) {
	fuzz(f, func(b []byte) ([]byte, error) {
		frag, err := crdt.DecodeFragment(b)
		if err != nil {
			return nil, err
		}
		_, _ = crdt.Merge(crdt.Record{Key: frag.Effect.Key}, frag)
		return crdt.AppendFragment(nil, frag), nil
	})
}

func FuzzDecodeDot(f *testing.F) {
	fuzz(f, func(b []byte) ([]byte, error) {
		d, err := crdt.DecodeDot(b)
		if err != nil {
			return nil, err
		}
		return crdt.AppendDot(nil, d), nil
	})
}

func FuzzParseSessionID(f *testing.F) {
	fuzz(f, func(b []byte) ([]byte, error) {
		id, err := crdt.ParseSessionID(b)
		if err != nil {
			return nil, err
		}
		return crdt.SessionKey(id).Name(), nil
	})
}

func FuzzParseKey(f *testing.F) {
	fuzz(f, func(b []byte) ([]byte, error) {
		if len(b) == 0 {
			return nil, crdt.ErrMalformed
		}
		k, err := crdt.ParseKey(crdt.Kind(b[0]), b[1:])
		if err != nil {
			return nil, err
		}
		if k.Partition() >= crdt.Partitions {
			return nil, errors.New("partition beyond the last")
		}
		return append([]byte{byte(k.Kind())}, k.Name()...), nil
	})
}
