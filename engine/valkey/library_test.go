package valkey

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/library.txt anew, before a version is released")

// Servers run a library that another version of this package gave them: one name is
// one code, for ever.
func TestLibraryIsOfItsVersion(t *testing.T) {
	var got string
	for _, code := range []string{library(), chainFunctions} {
		name, _, _ := strings.Cut(code, "\n")
		got += fmt.Sprintf("%s %x\n", name, sha256.Sum256([]byte(code)))
	}
	if *update {
		if err := os.WriteFile("testdata/library.txt", []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/library.txt")
	if err != nil || got != string(want) {
		t.Errorf("the libraries are\n%swant\n%s(%v): changed code needs another version in its name", got, want, err)
	}
}
