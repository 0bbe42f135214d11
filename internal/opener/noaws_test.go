//go:build noaws

package opener

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/roam-sessions/roam/internal/topology"
)

// A program that is built without the AWS SDK says so when a file wants it, and has nothing
// of it; all else is as it was.
func TestLeftOut(t *testing.T) {
	for name, e := range map[string]topology.Engine{
		"dsql":   {DSQL: &topology.DSQL{Endpoint: "aaaaaaaaaaaaaaaaaaaaaaaaaa.dsql.us-east-1.on.aws", AWSRegion: "us-east-1"}},
		"dynamo": {Dynamo: &topology.Dynamo{Table: "sessions", AWSRegion: "us-west-2"}},
	} {
		if _, err := Open(t.Context(), 1, e, Config{}); !errors.Is(err, errLeftOut) {
			t.Errorf("%s: Open = %v, want %v", name, err, errLeftOut)
		}
		if _, err := Examine(t.Context(), e, nil); !errors.Is(err, errLeftOut) {
			t.Errorf("%s: Examine = %v, want %v", name, err, errLeftOut)
		}
	}
	e, err := inMemory(1)
	if err != nil {
		t.Fatalf("Open of memory = %v, want nil", err)
	}
	_ = e.Close() // never fails
	out, err := exec.Command("go", "list", "-tags", "noaws", "-deps", "../../deployment").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "github.com/jackc/pgx/v5") {
		t.Fatalf("go list = %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "github.com/aws/") {
			t.Errorf("it links %s", line)
		}
	}
}
