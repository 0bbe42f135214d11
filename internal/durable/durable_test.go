package durable_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/roam-sessions/roam/internal/durable"
)

// A file is replaced whole, for its owner alone, and nothing is left beside it.
func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for _, text := range []string{"first", "second, which is longer", "3"} {
		if err := durable.Replace(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("the file has %q, %v, want %q", got, err, text)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v, want that its owner alone may read it", info.Mode(), err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("the folder has %v, %v, want the file alone", left, err)
	}
}

// A file that can't be replaced is what it was, and nothing is left beside it.
func TestReplaceFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "folder")
	if err := os.MkdirAll(filepath.Join(path, "in it"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := durable.Replace(path, []byte("text")); err == nil {
		t.Error("Replace of a folder that is not empty = nil, want an error")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("the folder has %v, %v, want what it had", left, err)
	}
}

// Until a draft is committed the file is what it was; one that is discarded leaves nothing.
func TestDraft(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	want := func(when, text string, files int) {
		t.Helper()
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("%s the file has %q, %v, want %q", when, got, err, text)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != files {
			t.Errorf("%s the folder has %v, %v, want %d files", when, left, err, files)
		}
	}
	if err := durable.Replace(path, []byte("before")); err != nil {
		t.Fatal(err)
	}
	for _, commit := range []bool{false, true} {
		d, err := durable.NewDraft(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"af", "ter"} {
			if _, err := d.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		want("while a draft is written", "before", 2)
		if !commit {
			if err := d.Discard(); err != nil {
				t.Error(err)
			}
			want("after a draft was discarded", "before", 1)
			continue
		}
		if err := d.Commit(); err != nil {
			t.Error(err)
		}
		want("after a draft was committed", "after", 1)
	}
}

// What is locked is locked for others until it is closed.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	held, err := durable.Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := durable.Lock(path); err == nil {
		t.Error("Lock of what is locked = nil, want an error")
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := durable.Lock(path)
	if err != nil {
		t.Fatalf("Lock of what is free again = %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}
