package valkey

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/valkey-io/valkey-go"
)

const (
	// leastVersion has functions, which the engine is made of.
	leastVersion = 7
	// wantListpack is how long a field may be for a record to be kept in one piece of
	// memory: the heads and fields of sessions fit. With the server's default of 64 a
	// session takes half as much again.
	wantListpack = 1024
)

// ErrUnfit: the server is set up so that sessions would be lost, or can't run what
// the engine needs. The error says how to mend it.
var ErrUnfit = errors.New("server is unfit for sessions")

// A Finding is something about a server that should be otherwise.
type Finding struct {
	// Addr is the server's, where there are several; else empty.
	Addr string
	// Fatal: sessions would be lost, so Open refuses it.
	Fatal bool
	// What is the matter, and how it is mended.
	What, Mend string
}

// String returns the finding as one line.
func (f Finding) String() string {
	where := ""
	if f.Addr != "" {
		where = f.Addr + ": "
	}
	return where + f.What + "; " + f.Mend
}

// Inspect returns what is wrong with the servers. It fails if one can't be asked.
func (e *Engine) Inspect(ctx context.Context) ([]Finding, error) {
	if err := e.open(ctx); err != nil {
		return nil, fmt.Errorf("inspect the server: %w", err)
	}
	var out []Finding
	nodes := e.byAddress()
	for addr, node := range nodes {
		info, err := node.Do(ctx, node.B().Info().Build()).ToString()
		if err != nil {
			return nil, fmt.Errorf("inspect the server: %w", e.failed(ctx, err))
		}
		for _, f := range judge(info, listpack(ctx, node)) {
			if len(nodes) > 1 {
				f.Addr = addr
			}
			out = append(out, f)
		}
	}
	return out, nil
}

// listpack returns how long a field may be that is kept in one piece with others; empty
// if the server does not tell, as managed ones may not.
func listpack(ctx context.Context, node valkey.Client) string {
	return parameters(ctx, node, "hash-max-listpack-value")["hash-max-listpack-value"]
}

// parameters returns those of some names that the server tells: of managed ones, none.
func parameters(ctx context.Context, node valkey.Client, names ...string) map[string]string {
	told, _ := node.Do(ctx, node.B().ConfigGet().Parameter(names...).Build()).AsStrMap()
	return told
}

// forgets reports whether a server says that it keeps nothing on disk.
func forgets(info string, config map[string]string) bool {
	saves, told := config["save"]
	return told && saves == "" && infoText(info, "aof_enabled") == "0"
}

// judge returns what is wrong with a server that says so of itself.
func judge(info, listpack string) (out []Finding) {
	if v := majorVersion(info); v < leastVersion {
		out = append(out, Finding{
			Fatal: true, What: fmt.Sprintf("the server is version %d and has no functions", v),
			Mend: "use Valkey, or Redis 7 or later",
		})
	}
	if policy := infoText(info, "maxmemory_policy"); policy != "noeviction" && policy != "" {
		f := Finding{
			Fatal: infoNumber(info, "maxmemory") > 0,
			What:  "maxmemory-policy is " + policy + ": sessions and logouts would be evicted where memory runs short",
			Mend:  "set maxmemory-policy noeviction",
		}
		out = append(out, f)
	}
	if infoNumber(info, "maxmemory") == 0 {
		out = append(out, Finding{
			What: "maxmemory is not set: births are not refused before memory runs out",
			Mend: "set maxmemory to what the server may use",
		})
	}
	if n, err := strconv.Atoi(listpack); err == nil && n < wantListpack {
		out = append(out, Finding{
			What: fmt.Sprintf("hash-max-listpack-value is %d: a session takes half as much memory again", n),
			Mend: fmt.Sprintf("set hash-max-listpack-value %d", wantListpack),
		})
	}
	return out
}

func majorVersion(info string) int {
	version := infoText(info, "valkey_version")
	if version == "" {
		version = infoText(info, "redis_version")
	}
	major, _, _ := strings.Cut(version, ".")
	n, _ := strconv.Atoi(major) // 0 is too old
	return n
}

// fit refuses servers that sessions would be lost on, and logs what else is found.
func (e *Engine) fit(ctx context.Context) error {
	found, err := e.Inspect(ctx)
	if err != nil {
		return err
	}
	var faults []error
	for _, f := range found {
		if f.Fatal {
			faults = append(faults, fmt.Errorf("%w: %v", ErrUnfit, f))
			continue
		}
		e.config.Log.Warn("server could be set up better", "server", f.Addr, "what", f.What, "mend", f.Mend)
	}
	return errors.Join(faults...)
}

// infoText returns what INFO tells of a name; empty if it does not.
func infoText(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return value
		}
	}
	return ""
}

// infoNumber returns a number that INFO tells; 0 if it does not.
func infoNumber(info, name string) int64 {
	n, _ := strconv.ParseInt(infoText(info, name), 10, 64) // 0 is what is not told
	return n
}
