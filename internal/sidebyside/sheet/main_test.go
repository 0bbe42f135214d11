package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/roam-sessions/roam/internal/sidebyside"
	"github.com/roam-sessions/roam/internal/valkeyserver"
)

// lines is what benchmarks write of some rows.
func lines(t *testing.T, rows ...string) string {
	t.Helper()
	var b strings.Builder
	for _, row := range rows {
		line, err := json.Marshal(sidebyside.Measured{Row: row, Ours: []float64{3, 2}, Base: []float64{2, 2}, Note: "note of " + row})
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(string(line) + "\n")
	}
	file := filepath.Join(t.TempDir(), "measured")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// sheet runs the command, with a server that there may or may not be.
func sheet(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out strings.Builder
	err := run(t.Context(), args, &out)
	if _, none := valkeyserver.Find(t.Context()); none != nil {
		t.Skipf("there is no server whose version could be told: %v", none)
	}
	return out.String(), err
}

func TestKeepsFiguresAndMakesThePage(t *testing.T) {
	folder := t.TempDir()
	table, err := sheet(t, "-folder", folder, "-sessions", "10", "-measured", lines(t, sidebyside.Rows()...))
	if err != nil {
		t.Fatalf("sheet = %v, want nil", err)
	}
	page, err := sheet(t, "-folder", folder)
	if err != nil {
		t.Fatalf("sheet without lines = %v, want a page", err)
	}
	for _, row := range sidebyside.Rows() {
		if !strings.Contains(table, "| "+row+" ") || !strings.Contains(page, "| "+row+" ") || !strings.Contains(table, "note of "+row) {
			t.Errorf("%s is not in both the table and the page", row)
		}
	}
	raw, err := os.ReadFile(filepath.Join(folder, "valkey.json"))
	if err != nil {
		t.Fatal(err)
	}
	var kept []map[string]any
	if err := json.Unmarshal(raw, &kept); err != nil || len(kept) != len(sidebyside.Rows()) {
		t.Fatalf("valkey.json has %d figures, %v; want %d", len(kept), err, len(sidebyside.Rows()))
	}
	for _, key := range []string{"name", "value", "unit", "baseline", "ratio", "target", "ok"} {
		if _, ok := kept[0][key]; !ok {
			t.Errorf("a figure of valkey.json has no %s: %v", key, kept[0])
		}
	}
}

// A figure that is missing, or can't be one, is a failure; what there is is kept.
func TestMissingFigures(t *testing.T) {
	rows, folder := sidebyside.Rows(), t.TempDir()
	table, err := sheet(t, "-folder", folder, "-measured", lines(t, rows[1:]...))
	if !errors.Is(err, errMissing) || !strings.Contains(err.Error(), rows[0]) || !strings.Contains(table, rows[1]) {
		t.Errorf("sheet = %v, want what is missing, and the table of the rest", err)
	}
	if _, err := os.Stat(filepath.Join(folder, "valkey.json")); err != nil {
		t.Errorf("the rest is not kept: %v", err)
	}
	if _, err := sheet(t, "-folder", folder, "-measured", lines(t, append(rows, "speed")...)); !errors.Is(err, sidebyside.ErrRow) {
		t.Errorf("sheet with an unknown row = %v, want ErrRow", err)
	}
	if _, err := sheet(t, "-folder", t.TempDir()); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "make bench-valkey") {
		t.Errorf("page of nothing = %v, want what to do", err)
	}
}
