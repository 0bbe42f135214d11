package simcli

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/roam-sessions/roam/internal/campaign"
	"github.com/roam-sessions/roam/internal/mutant"
)

// withMutants builds roam-sim with all mutants in it and returns its path.
func withMutants(t *testing.T) string {
	t.Helper()
	dir, root := t.TempDir(), filepath.Join("..", "..")
	overlay, err := mutant.Write(root, dir)
	if err != nil {
		t.Fatal(err) // names the mutants that no longer fit
	}
	bin := filepath.Join(dir, "roam-sim")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-overlay", overlay, "-o", bin, "./cmd/roam-sim")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build with all mutants: %v\n%s", err, out)
	}
	return bin
}

// TestMutantsSleep: with no mutant awake the binary with all of them does what the
// code does; with one awake it does not, and the hunt finds it at the seed that is
// known.
func TestMutantsSleep(t *testing.T) {
	bin := withMutants(t)
	run := func(awake string) string {
		cmd := exec.CommandContext(t.Context(), bin, "--seeds", "4", "--no-story")
		cmd.Env = append(slices.Clone(os.Environ()), mutant.Switch+"="+awake)
		out, _ := cmd.Output() // fails where an invariant is broken
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return lines[len(lines)-1]
	}
	want := campaign.Campaign{Seeds: 4}.Run().String()
	if got := run(""); got != want {
		t.Errorf("with all mutants asleep: %s\nwithout any: %s", got, want)
	}
	loses, ok := mutant.Named("dead-loses")
	if !ok {
		t.Fatal("there is no mutant dead-loses")
	}
	if got := run(loses.Awake()); got == want {
		t.Errorf("with %s awake the same happens: %s", loses.Name, got)
	}
	receipt, ok := mutant.Named("no-receipt")
	if !ok {
		t.Fatal("there is no mutant no-receipt")
	}
	hunt := campaign.Hunt{Seeds: 20, Known: true, Patience: seedPatience, Talk: t.Output(), Program: bin}
	found, err := hunt.Run(t.Context(), []mutant.Mutant{loses, receipt})
	if err != nil || len(found) != 2 || !found[0].Found || found[0].Moved != 0 || !found[1].Found || found[1].Moved != 0 {
		t.Errorf("the hunt of %s and %s: %v, %v; want both found at seeds %d and %d", loses.Name, receipt.Name, found, err, loses.Seed, receipt.Seed)
	}
}
