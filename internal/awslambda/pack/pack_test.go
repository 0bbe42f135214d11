package main

import (
	"archive/zip"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestPack(t *testing.T) {
	dir := t.TempDir()
	content := bytes.Repeat([]byte("bootstrap "), 10000)
	var archives [2][]byte
	for i := range archives {
		binary, archive := filepath.Join(dir, "b"+string(rune('0'+i))), filepath.Join(dir, "a.zip")
		if err := os.WriteFile(binary, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(binary, time.Now(), time.Now().Add(time.Duration(i)*time.Hour)); err != nil {
			t.Fatal(err)
		}
		if err := pack(binary, archive); err != nil {
			t.Fatal(err)
		}
		var err error
		if archives[i], err = os.ReadFile(archive); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("the same bootstrap makes two archives")
	}
	z, err := zip.NewReader(bytes.NewReader(archives[0]), int64(len(archives[0])))
	if err != nil || len(z.File) != 1 {
		t.Fatalf("%v, %v", z, err)
	}
	f := z.File[0]
	if f.Name != "bootstrap" || f.Mode() != 0o755 || len(archives[0]) > len(content)/10 {
		t.Errorf("%s %v, %d bytes; Lambda runs bootstrap, mode 0755", f.Name, f.Mode(), len(archives[0]))
	}
	r, err := f.Open()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if err := pack(filepath.Join(dir, "none"), filepath.Join(dir, "b.zip")); err == nil {
		t.Error("there is an archive of nothing")
	}
}
