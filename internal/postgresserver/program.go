package postgresserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// leastMajor is the first version that engine/postgres is for.
const leastMajor = 15

// ErrMissing: there is no server on this machine that would do. The error says what to
// install.
var ErrMissing = errors.New("no PostgreSQL server on this machine")

// A Program is a server that can be run.
type Program struct {
	// Dir is the folder of the server's programs.
	Dir string
	// Version is as it says of itself, such as 15.18.
	Version string
}

// String returns the name, the version and the folder.
func (p Program) String() string { return fmt.Sprintf("PostgreSQL %s (%s)", p.Version, p.Dir) }

// Find returns a server of version 15 or later, from the PATH or where Debian has them,
// which is on no PATH. It fails with ErrMissing.
func Find(ctx context.Context) (Program, error) {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is a good one
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			dirs = append([]string{filepath.Dir(path)}, dirs...)
		}
	}
	var unfit []string
	for _, dir := range dirs {
		p, err := ask(ctx, dir)
		if err == nil {
			return p, nil
		}
		unfit = append(unfit, err.Error())
	}
	why := "looked for postgres on the PATH and below /usr/lib/postgresql"
	if len(unfit) > 0 {
		why = strings.Join(unfit, "; ")
	}
	return Program{}, fmt.Errorf("%w: %s; install PostgreSQL %d or later (Debian: apt-get install postgresql; macOS: brew install postgresql)",
		ErrMissing, why, leastMajor)
}

// ask asks what is in a folder.
func ask(ctx context.Context, dir string) (Program, error) {
	path := filepath.Join(dir, "postgres")
	said, err := exec.CommandContext(ctx, path, "--version").Output() //nolint:gosec // it was found by a name of ours
	if err != nil {
		return Program{}, fmt.Errorf("%s --version: %w", path, err)
	}
	version, ok := parseVersion(string(said))
	major, _, _ := strings.Cut(version, ".")
	switch n, err := strconv.Atoi(major); {
	case !ok || err != nil:
		return Program{}, fmt.Errorf("%s --version says %.80q", path, said)
	case n < leastMajor:
		return Program{}, fmt.Errorf("%s is PostgreSQL %s", path, version)
	}
	return Program{Dir: dir, Version: version}, nil
}

// parseVersion reads what a server says of itself: "postgres (PostgreSQL) 15.18 (Debian …)".
func parseVersion(text string) (string, bool) {
	fields := strings.Fields(text)
	if len(fields) < 3 || fields[0] != "postgres" || fields[1] != "(PostgreSQL)" {
		return "", false
	}
	return fields[2], true
}

// An account is whom a server runs as.
type account struct{ uid, gid uint32 }

// unprivileged returns whom a server runs as, which refuses to run as root; nil: as we are.
func unprivileged() (*account, error) {
	if os.Getuid() != 0 {
		return nil, nil //nolint:nilnil // as we are
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			uid, _ := strconv.ParseUint(u.Uid, 10, 32) // as it stands in the file
			gid, _ := strconv.ParseUint(u.Gid, 10, 32)
			return &account{uint32(uid), uint32(gid)}, nil
		}
	}
	return nil, errors.New("neither a user postgres nor nobody to run a server as")
}
