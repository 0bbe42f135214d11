package valkeyserver

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// leastMajor is the first version of Redis that has functions, which engine/valkey is
// made of. Every Valkey has them.
const leastMajor = 7

// ErrMissing: there is no server on this machine that would do. The error says what to
// install.
var ErrMissing = errors.New("no Valkey server on this machine")

// A Program is a server that can be run.
type Program struct {
	// Path is where it is.
	Path string
	// Name is Valkey or Redis.
	Name string
	// Version is as it says of itself, such as 8.0.1.
	Version string
}

// String returns the name, the version and the path.
func (p Program) String() string { return fmt.Sprintf("%s %s (%s)", p.Name, p.Version, p.Path) }

// Find returns valkey-server, or redis-server if it is version 7 or later, from the
// PATH. It fails with ErrMissing.
func Find(ctx context.Context) (Program, error) {
	return find(ctx, "valkey-server", "redis-server")
}

// FindRedis is Find for redis-server alone.
func FindRedis(ctx context.Context) (Program, error) { return find(ctx, "redis-server") }

func find(ctx context.Context, names ...string) (Program, error) {
	var unfit []string
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			continue // what is not there is told below
		}
		p, err := ask(ctx, path)
		if err == nil {
			return p, nil
		}
		unfit = append(unfit, err.Error())
	}
	why := "looked for " + strings.Join(names, " and ") + " on the PATH"
	if len(unfit) > 0 {
		why = strings.Join(unfit, "; ")
	}
	return Program{}, fmt.Errorf("%w: %s; install Valkey (Debian: apt-get install valkey-server, from backports on bookworm; "+
		"macOS: brew install valkey), or Redis %d or later", ErrMissing, why, leastMajor)
}

// ask asks a program what it is.
func ask(ctx context.Context, path string) (Program, error) {
	said, err := exec.CommandContext(ctx, path, "--version").Output() //nolint:gosec // it was found by a name of ours
	if err != nil {
		return Program{}, fmt.Errorf("%s --version: %w", path, err)
	}
	p, ok := parseVersion(string(said))
	if !ok {
		return Program{}, fmt.Errorf("%s --version says %.80q", path, said)
	}
	p.Path = path
	major, _, _ := strings.Cut(p.Version, ".")
	if n, err := strconv.Atoi(major); p.Name == "Redis" && (err != nil || n < leastMajor) {
		return Program{}, fmt.Errorf("%s is %s %s", path, p.Name, p.Version)
	}
	return p, nil
}

// parseVersion reads what a server says of itself: "Valkey server v=8.0.1 sha=…".
func parseVersion(text string) (Program, bool) {
	name, rest, ok := strings.Cut(text, " server v=")
	fields := strings.Fields(rest)
	if !ok || len(fields) == 0 || name != "Valkey" && name != "Redis" {
		return Program{}, false
	}
	return Program{Name: name, Version: fields[0]}, true
}
