package crdt_test

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

// Scripts on servers read these bytes, which another version of this package may have
// written.
func TestOpBytes(t *testing.T) {
	adopted := crdt.Record{Key: sessionKey(), Dead: true}
	ops := []struct {
		name string
		op   crdt.Op
	}{
		{"touch", crdt.Op{Touch: true}},
		{"revoke", crdt.Op{Revoke: true}},
		{"birth", crdt.Op{
			Stamp: start.Stamp() + 1, Birth: &crdt.Birth{Idle: 30 * time.Minute}, User: "ann",
			Auth: &crdt.Auth{Gen: 2, Cur: secret(1), Prev: secret(2), Grace: 3, At: 4, Epochs: crdt.Vector{dot(actor(1, 1), 5)}},
		}},
		{"changes", crdt.Op{ID: 7, Stamp: 9, Changes: []crdt.Change{
			crdt.Put("a", []byte{0, 255}), crdt.Delete("b"), crdt.Add("n", -2), crdt.Mark("s", "x"), crdt.Unmark("s", "y"),
		}}},
		{"adopt", crdt.Op{Adopt: &adopted}},
		{"destroy leaves the rest out", crdt.Op{ID: 8, Destroy: true, Touch: true, Changes: []crdt.Change{crdt.Put("a", nil)}}},
	}
	var b strings.Builder
	for _, o := range ops {
		fmt.Fprintf(&b, "%s: %s\n", o.name, hex.EncodeToString(crdt.AppendOp(nil, o.op)))
	}
	file := filepath.Join("testdata", "ops.txt")
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || b.String() != string(want) {
		t.Errorf("operations are\n%s\nwant\n%s (%v)", b.String(), want, err)
	}
}
