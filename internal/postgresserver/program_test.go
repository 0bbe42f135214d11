package postgresserver

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseVersion(t *testing.T) {
	for text, want := range map[string]string{
		"postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n": "15.18",
		"postgres (PostgreSQL) 18beta1\n":                        "18beta1",
		"postgres (EnterpriseDB) 15.1\n":                         "",
		"postgres":                                               "",
		"":                                                       "",
	} {
		if got, ok := parseVersion(text); got != want || ok != (want != "") {
			t.Errorf("parseVersion(%q) = %q, %t, want %q", text, got, ok, want)
		}
	}
}

func TestAsk(t *testing.T) {
	for says, want := range map[string]string{
		"postgres (PostgreSQL) 16.3": "", "postgres (PostgreSQL) 14.3": "is PostgreSQL 14.3", "hello": "says",
	} {
		dir := t.TempDir()
		script := "#!/bin/sh\necho '" + says + "'\n"
		if err := os.WriteFile(filepath.Join(dir, "postgres"), []byte(script), 0o700); err != nil { //nolint:gosec // it is run
			t.Fatal(err)
		}
		p, err := ask(t.Context(), dir)
		if want == "" && (err != nil || p.Version != "16.3" || p.Dir != dir) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("ask of what says %q = %+v, %v; want %q", says, p, err, want)
		}
	}
	if _, err := ask(t.Context(), t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("ask of an empty folder = %v, want that there is no program", err)
	}
}
