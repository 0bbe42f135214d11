//go:build integration

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
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

// The bootstrap as Lambda runs it: events by the Runtime API, reports on stdout, AWS behind
// endpoints of the environment.
func TestBootstrap(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "bootstrap")
	if out, err := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	world := &awstest.World{
		Cache: awstest.Cache{Global: "virxk-sessions", Members: []awstest.Member{
			{ID: "session-usw1", Region: "us-west-1"}, {ID: "session-usw2", Region: "us-west-2"},
		}},
		Route53: awstest.Route53{Zone: "Z1"},
	}
	world.Cache.Promote("us-west-2")
	aws := httptest.NewServer(world)
	defer aws.Close()
	api := &runtime{events: make(chan string), answers: make(chan string, 1)}
	lambda := httptest.NewServer(api)
	defer lambda.Close()

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, binary)
	cmd.Env = []string{
		"AWS_LAMBDA_RUNTIME_API=" + strings.TrimPrefix(lambda.URL, "http://"), "AWS_ENDPOINT_URL=" + aws.URL,
		"AWS_ACCESS_KEY_ID=" + awstest.KeyID, "AWS_SECRET_ACCESS_KEY=" + awstest.Secret, "AWS_REGION=us-west-2",
		"ROAM_GROUP=session-usw2", "ROAM_GLOBAL=virxk-sessions", "ROAM_DRIVE=record,metric", "ROAM_ZONE=Z1", "ROAM_NAME=write.session.internal",
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); _ = cmd.Wait() }()

	invoke := func(event string) string {
		t.Helper()
		for step, limit := 0, time.After(30*time.Second); ; step++ {
			events := api.events
			if step > 0 {
				events = nil
			}
			select {
			case events <- event:
			case answer := <-api.answers:
				return answer
			case <-limit:
				t.Fatalf("no answer; stderr: %s", stderr.String())
			}
		}
	}
	if got := invoke(`{"Records":[{"Sns":{"Message":"{\"ElastiCache:ReplicationGroupPromotedAsPrimary\":\"session-usw2\"}"}}]}`); !strings.HasPrefix(got, "response ") {
		t.Errorf("the event is answered %q", got)
	}
	if got := invoke(`["x"]`); !strings.HasPrefix(got, "response ") {
		t.Errorf("a malformed event is answered %q", got)
	}
	world.Lock(func() { world.Fate = func(awstest.Call) awstest.Fate { return awstest.Fate{Code: "Throttling"} } })
	if got := invoke(`{"source":"aws.events"}`); !strings.HasPrefix(got, "error ") {
		t.Errorf("with AWS away the schedule is answered %q, want that Lambda comes again", got)
	}
	cancel()
	_ = cmd.Wait()
	world.Lock(func() {
		if r := world.Route53.Records; len(r) != 1 || r[0].Values[0] != awstest.Endpoint("master", "session-usw2", "us-west-2") || world.Unsigned > 0 {
			t.Errorf("there is %+v, %d requests were not signed", r, world.Unsigned)
		}
	})
	reports := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	var first struct{ IsGlobalPrimary, DnsUpdated float64 }
	if err := json.Unmarshal([]byte(reports[0]), &first); err != nil || len(reports) != 3 || first.IsGlobalPrimary != 1 || first.DnsUpdated != 1 {
		t.Errorf("stdout has %d lines, %v, %+v:\n%s\nstderr: %s", len(reports), err, first, stdout.String(), stderr.String())
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
