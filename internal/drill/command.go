package drill

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/roam-sessions/roam/internal/valkeyserver"
)

// Main runs a drill as args say, results to out and talk to talk, and returns the exit
// code: 0, 1 if a bound is broken or it could not be done, 2 if it was asked wrongly.
func Main(ctx context.Context, args []string, out, talk io.Writer) int {
	flags := flag.NewFlagSet("roam-drill", flag.ContinueOnError)
	flags.SetOutput(talk)
	var c Config
	flags.IntVar(&c.Planned, "planned", 10, "how many planned switchovers")
	flags.IntVar(&c.Unplanned, "unplanned", 20, "how many losses of the primary")
	flags.DurationVar(&c.RTT, "rtt", 60*time.Millisecond, "round trip between two Regions")
	flags.IntVar(&c.Clients, "clients", 4, "how many clients write in each Region")
	flags.Uint64Var(&c.Seed, "seed", 1, "draws what the network does by chance")
	flags.StringVar(&c.Kind, "kind", "", "only losses of the primary that have this in their names")
	flags.BoolVar(&c.Keep, "keep", false, "leave logs and files where they are")
	file := flags.String("file", "bench/results/failover.json", "where figures are kept; empty: nowhere")
	asJSON := flags.Bool("json", false, "print what is kept, and no table")
	page := flags.Bool("page", false, "print the page of what is kept, and do nothing else")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	switch {
	case flags.NArg() > 0 || c.Planned < 0 || c.Unplanned < 0 || c.Clients < 1 || c.RTT < 2*time.Millisecond || c.RTT > 150*time.Millisecond:
		_, _ = fmt.Fprintln(talk, "roam-drill: want no arguments, no negative numbers, a client, and a round trip of 2ms to 150ms")
		return 2
	case *page:
		return failing(talk, printPage(*file, out))
	}
	c.Out = talk
	r, err := Run(ctx, c)
	kept := Kept{
		Date: time.Now().UTC().Format(time.DateOnly), Machine: machine(ctx), RTT: inMS(c.RTT), Seed: c.Seed,
		Figures: r.Figures(), Broken: r.Broken(),
	}
	if err != nil {
		kept.Error = err.Error()
	}
	raw, failed := json.MarshalIndent(kept, "", "  ")
	if failed == nil && *file != "" {
		failed = errors.Join(os.MkdirAll(filepath.Dir(*file), 0o750), os.WriteFile(*file, append(raw, '\n'), 0o600))
	}
	if *asJSON {
		_, _ = fmt.Fprintf(out, "%s\n", raw)
	} else {
		_, _ = io.WriteString(out, Table(kept.Figures))
	}
	for _, text := range kept.Broken {
		_, _ = fmt.Fprintln(talk, "BROKEN:", text)
	}
	if code := failing(talk, errors.Join(err, failed)); code != 0 {
		return code
	}
	return min(len(kept.Broken), 1)
}

func failing(talk io.Writer, err error) int {
	if err == nil {
		return 0
	}
	_, _ = fmt.Fprintln(talk, "roam-drill:", err)
	return 1
}

// machine says where this runs.
func machine(ctx context.Context) string {
	text := fmt.Sprintf("%d cores, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
	if p, err := valkeyserver.Find(ctx); err == nil {
		text += ", " + p.Name + " " + p.Version
	}
	return text
}

// printPage prints the page of what is kept in a file.
func printPage(file string, out io.Writer) error {
	raw, err := os.ReadFile(file) //nolint:gosec // the caller names it
	if err != nil {
		return fmt.Errorf("%w: run make failover first", err)
	}
	var k Kept
	if err := json.Unmarshal(raw, &k); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	_, err = io.WriteString(out, Page(k))
	return err
}
