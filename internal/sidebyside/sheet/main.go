package main

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
	"strings"
	"time"

	"github.com/roam-sessions/roam/internal/sidebyside"
	"github.com/roam-sessions/roam/internal/valkeyserver"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sheet:", err)
		os.Exit(1)
	}
}

// errMissing: some of what must be measured was not.
var errMissing = errors.New("figures are missing")

// run keeps what lines of benchmarks measured in a folder and prints the table; or,
// without lines, prints the page of what is kept there.
func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("sheet", flag.ContinueOnError)
	folder := flags.String("folder", "bench/results", "where figures are kept")
	lines := flags.String("measured", "", "file of what benchmarks measured; none: print the page of what is kept")
	sessions := flags.Int("sessions", 0, "how many sessions were many")
	if err := flags.Parse(args); err != nil {
		return err
	}
	figuresFile, machineFile := filepath.Join(*folder, "valkey.json"), filepath.Join(*folder, "machine.json")
	if *lines == "" {
		return page(figuresFile, machineFile, out)
	}
	raw, err := os.ReadFile(*lines)
	if err != nil {
		return err
	}
	measured, err := sidebyside.DecodeMeasured(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", *lines, err)
	}
	var figures []sidebyside.Figure
	var faults []error
	for _, m := range measured {
		f, err := sidebyside.Judge(m)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		figures = append(figures, f)
	}
	figures, missing := sidebyside.Order(figures)
	m, err := machine(ctx, *sessions)
	faults = append(faults, err, write(figuresFile, figures), write(machineFile, m))
	_, err = io.WriteString(out, sidebyside.Table(figures))
	faults = append(faults, err)
	for _, f := range figures {
		if f.Note != "" {
			_, err := fmt.Fprintf(out, "%s: %s\n", f.Name, f.Note)
			faults = append(faults, err)
		}
	}
	if len(missing) > 0 {
		faults = append(faults, fmt.Errorf("%w: %s", errMissing, strings.Join(missing, "; ")))
	}
	return errors.Join(faults...)
}

func page(figuresFile, machineFile string, out io.Writer) error {
	raw, err := os.ReadFile(figuresFile) //nolint:gosec // the caller names the folder
	if err != nil {
		return fmt.Errorf("%w: run make bench-valkey first", err)
	}
	figures, err := sidebyside.Decode(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", figuresFile, err)
	}
	if raw, err = os.ReadFile(machineFile); err != nil { //nolint:gosec // the caller names the folder
		return err
	}
	m, err := sidebyside.DecodeMachine(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", machineFile, err)
	}
	_, err = io.WriteString(out, sidebyside.Page(figures, m))
	return err
}

func write(file string, what any) error {
	raw, err := json.MarshalIndent(what, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(raw, '\n'), 0o600)
}

// machine says where this runs.
func machine(ctx context.Context, sessions int) (sidebyside.Machine, error) {
	m := sidebyside.Machine{
		Cores: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(),
		Sessions: sessions, Date: time.Now().UTC().Format(time.DateOnly),
	}
	p, err := valkeyserver.Find(ctx)
	if err != nil {
		return m, err
	}
	m.Server = p.Name + " " + p.Version
	return m, nil
}
