package awsdrill

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Main runs a drill as args say, results to out and talk to talk, and returns the exit
// code: 0, 1 if something did not move as it should or it could not be done, 2 if it was
// asked wrongly.
func Main(ctx context.Context, args []string, out, talk io.Writer) int {
	flags := flag.NewFlagSet("roam-awsdrill", flag.ContinueOnError)
	flags.SetOutput(talk)
	c := Config{Talk: talk}
	flags.DurationVar(&c.Promotion, "promotion", 3*time.Second, "how long ElastiCache takes to promote a Region: at AWS about a minute")
	flags.DurationVar(&c.Propagation, "propagation", 2*time.Second, "how long changes of records take: at AWS up to a minute")
	flags.DurationVar(&c.Minute, "minute", 2*time.Second, "how long a minute of alarms and schedules is")
	flags.IntVar(&c.Shards, "shards", 1, "how many shards a Region's cache has, up to 8; more than one: cluster mode is enabled")
	flags.StringVar(&c.Bootstrap, "bootstrap", "", "the Lambda function's program; empty: it is built")
	file := flags.String("file", "bench/results/aws.json", "where the stages are kept; empty: nowhere")
	asJSON := flags.Bool("json", false, "print what is kept, and no table")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if c.Shards < 1 || c.Shards > 8 {
		_, _ = fmt.Fprintln(talk, "roam-awsdrill: want 1 to 8 shards")
		return 2
	}
	if flags.NArg() > 0 || c.Promotion <= 0 || c.Propagation <= 0 || c.Minute < time.Second || max(c.Promotion, c.Propagation, c.Minute) > time.Minute {
		_, _ = fmt.Fprintln(talk, "roam-awsdrill: want no arguments, and times up to a minute; a minute of one second at least")
		return 2
	}
	r, err := Run(ctx, c)
	raw, failed := json.MarshalIndent(r, "", "  ")
	if failed == nil && *file != "" && err == nil {
		failed = errors.Join(os.MkdirAll(filepath.Dir(*file), 0o750), os.WriteFile(*file, append(raw, '\n'), 0o600))
	}
	switch {
	case err != nil:
	case *asJSON:
		_, _ = fmt.Fprintf(out, "%s\n", raw)
	default:
		_, _ = io.WriteString(out, r.Table())
	}
	for _, text := range r.Broken() {
		_, _ = fmt.Fprintln(talk, "BROKEN:", text)
	}
	if err = errors.Join(err, failed); err != nil {
		_, _ = fmt.Fprintln(talk, "roam-awsdrill:", err)
		return 1
	}
	return min(len(r.Broken()), 1)
}
