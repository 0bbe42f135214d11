package valkeyserver

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseVersion(t *testing.T) {
	for text, want := range map[string]Program{
		"Valkey server v=8.0.1 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1\n": {Name: "Valkey", Version: "8.0.1"},
		"Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=2\n": {Name: "Redis", Version: "7.0.15"},
		"KeyDB server v=6.3.4 sha=0\n": {},
		"Valkey server v=":             {},
		"":                             {},
	} {
		if got, ok := parseVersion(text); got != want || ok != (want != Program{}) {
			t.Errorf("parseVersion(%q) = %+v, %v, want %+v", text, got, ok, want)
		}
	}
}

// install puts programs into a PATH of their own that say of themselves what they
// are told to.
func install(t *testing.T, says map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range says {
		script := "#!/bin/sh\necho '" + text + "'\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o700); err != nil { //nolint:gosec // it is run
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	return dir
}

func TestFind(t *testing.T) {
	const valkey, old, redis = "Valkey server v=8.1.0 sha=0", "Redis server v=6.0.16 sha=0", "Redis server v=7.0.15 sha=0"
	for name, c := range map[string]struct {
		says map[string]string
		want string // the version; else what the error says
	}{
		"Valkey":                       {map[string]string{"valkey-server": valkey}, "8.1.0"},
		"Valkey before Redis":          {map[string]string{"valkey-server": valkey, "redis-server": redis}, "8.1.0"},
		"Redis":                        {map[string]string{"redis-server": redis}, "7.0.15"},
		"Valkey under its old name":    {map[string]string{"redis-server": valkey}, "8.1.0"},
		"a Redis that is too old":      {map[string]string{"redis-server": old}, "redis-server is Redis 6.0.16"},
		"something else":               {map[string]string{"valkey-server": "hello"}, "says"},
		"a broken one, and a good one": {map[string]string{"valkey-server": "hello", "redis-server": redis}, "7.0.15"},
		"nothing":                      {nil, "looked for valkey-server and redis-server"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := install(t, c.says)
			got, err := Find(t.Context())
			if err == nil {
				if got.Version != c.want || filepath.Dir(got.Path) != dir {
					t.Errorf("Find = %+v, want version %s in %s", got, c.want, dir)
				}
				return
			}
			if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "install Valkey") {
				t.Errorf("Find = %v, want ErrMissing, %q and what to install", err, c.want)
			}
		})
	}
}
