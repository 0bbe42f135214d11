//go:build integration

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/awstest"
)

// runtime is Lambda's Runtime API: it hands out events one after another, and keeps what the
// bootstrap answers.
type runtime struct {
	events  chan string
	answers chan string
	mu      sync.Mutex // guards what follows
	n       int
}

func (r *runtime) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	path, ok := strings.CutPrefix(req.URL.Path, "/2018-06-01/runtime/")
	body, err := io.ReadAll(req.Body)
	switch {
	case !ok || err != nil:
		http.Error(w, "what?", http.StatusNotFound)
	case path == "invocation/next":
		select {
		case event := <-r.events:
			r.mu.Lock()
			r.n++
			id := fmt.Sprint("request-", r.n)
			r.mu.Unlock()
			w.Header().Set("Lambda-Runtime-Aws-Request-Id", id)
			w.Header().Set("Lambda-Runtime-Deadline-Ms", fmt.Sprint(time.Now().Add(90*time.Second).UnixMilli()))
			w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-west-2:123456789012:function:roam")
			_, _ = io.WriteString(w, event)
		case <-req.Context().Done():
		}
	default:
		w.WriteHeader(http.StatusAccepted)
		r.answers <- path[strings.LastIndex(path, "/")+1:] + " " + string(body)
	}
}

// invoke hands an event to the bootstrap and returns its answer.
func (r *runtime) invoke(t *testing.T, event string) string {
	t.Helper()
	events := r.events
	for limit := time.After(30 * time.Second); ; {
		select {
		case events <- event:
			events = nil
		case answer := <-r.answers:
			return answer
		case <-limit:
			t.Fatal("no answer")
		}
	}
}

// start builds the bootstrap and runs it against a world. What it returns ends it, and returns
// what it wrote to stdout.
func start(t *testing.T, api *runtime, world *awstest.World, env ...string) (end func() []string) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "bootstrap")
	if out, err := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	aws, lambda := httptest.NewServer(world), httptest.NewServer(api)
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, binary)
	cmd.Env = slices.Concat(env, []string{
		"AWS_LAMBDA_RUNTIME_API=" + strings.TrimPrefix(lambda.URL, "http://"), "AWS_ENDPOINT_URL=" + aws.URL,
		"AWS_ACCESS_KEY_ID=" + awstest.KeyID, "AWS_SECRET_ACCESS_KEY=" + awstest.Secret, "AWS_REGION=us-west-2",
	})
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = sync.OnceValue(func() []string {
		cancel()
		_ = cmd.Wait()
		lambda.Close()
		aws.Close()
		t.Logf("stderr: %s", stderr.String())
		return strings.Split(strings.TrimSpace(stdout.String()), "\n")
	})
	t.Cleanup(func() { end() })
	return end
}

// The bootstrap as Lambda runs it: events by the Runtime API, reports on stdout, AWS behind
// endpoints of the environment.
func TestBootstrap(t *testing.T) {
	world := &awstest.World{
		Cache: awstest.Cache{Global: "virxk-sessions", Members: []awstest.Member{
			{ID: "session-usw1", Region: "us-west-1"}, {ID: "session-usw2", Region: "us-west-2"},
		}},
		Route53: awstest.Route53{Zone: "Z1"},
	}
	world.Cache.Promote("us-west-2")
	api := &runtime{events: make(chan string), answers: make(chan string, 1)}
	end := start(t, api, world,
		"ROAM_GROUP=session-usw2", "ROAM_GLOBAL=virxk-sessions", "ROAM_DRIVE=record,metric", "ROAM_ZONE=Z1", "ROAM_NAME=write.session.internal")
	if got := api.invoke(t, `{"Records":[{"Sns":{"Message":"{\"ElastiCache:ReplicationGroupPromotedAsPrimary\":\"session-usw2\"}"}}]}`); !strings.HasPrefix(got, "response ") {
		t.Errorf("the event is answered %q", got)
	}
	if got := api.invoke(t, `["x"]`); !strings.HasPrefix(got, "response ") {
		t.Errorf("a malformed event is answered %q", got)
	}
	world.Lock(func() { world.Fate = func(awstest.Call) awstest.Fate { return awstest.Fate{Code: "Throttling"} } })
	if got := api.invoke(t, `{"source":"aws.events"}`); !strings.HasPrefix(got, "error ") {
		t.Errorf("with AWS away the schedule is answered %q, want that Lambda comes again", got)
	}
	reports := end()
	if r := world.Route53.Records; len(r) != 1 || r[0].Values[0] != awstest.Endpoint("master", "session-usw2", "us-west-2") || world.Unsigned > 0 {
		t.Errorf("there is %+v, %d requests were not signed", r, world.Unsigned)
	}
	var first struct{ IsGlobalPrimary, DnsUpdated float64 }
	err := errors.Join(json.Unmarshal([]byte(reports[0]), &first), json.Unmarshal([]byte(reports[1]), &first))
	if err != nil || len(reports) != 4 || first.IsGlobalPrimary != 1 || first.DnsUpdated != 1 {
		t.Errorf("stdout: %q, %v", reports, err)
	}
}

// The same bootstrap sweeps a table.
func TestBootstrapSweeps(t *testing.T) {
	world := &awstest.World{Dynamo: awstest.Dynamo{Table: "sessions-sessions", Items: map[string]int64{"over": 1, "alive": time.Now().Add(time.Hour).Unix()}}}
	api := &runtime{events: make(chan string), answers: make(chan string, 1)}
	end := start(t, api, world, "ROAM_FUNCTION=sweep", "ROAM_TABLE=sessions-sessions")
	if got := api.invoke(t, `{"source":"aws.events"}`); !strings.HasPrefix(got, "response ") {
		t.Errorf("the schedule is answered %q", got)
	}
	var report struct{ ItemsDeleted, SweepThrough float64 }
	lines := end()
	if err := json.Unmarshal([]byte(lines[0]), &report); err != nil || len(lines) != 1 || report.ItemsDeleted != 1 || report.SweepThrough != 1 {
		t.Errorf("stdout: %q, %v", lines, err)
	}
	if _, alive := world.Dynamo.Items["alive"]; !alive || len(world.Dynamo.Items) != 1 || world.Unsigned > 0 {
		t.Errorf("%v are left, %d requests were not signed", world.Dynamo.Items, world.Unsigned)
	}
}

// A bootstrap that is told nothing says all that it lacks, and ends.
func TestBootstrapWithoutConfiguration(t *testing.T) {
	cmd := exec.Command("go", "run", ".")
	cmd.Env = append(cmd.Environ(), "ROAM_DRIVE=record", "AWS_REGION=us-west-2")
	out, err := cmd.CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("ROAM_GROUP")) || !bytes.Contains(out, []byte("ROAM_ZONE")) {
		t.Errorf("%v\n%s", err, out)
	}
}
