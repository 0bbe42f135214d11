//go:build integration

package awsdocs

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/fakeaws"
	"github.com/roam-sessions/roam/internal/awslambda"
	"github.com/roam-sessions/roam/internal/mototest"
)

const (
	west1, west2, east1 = "us-west-1", "us-west-2", "us-east-1"
	account             = "123456789012"
	panel               = "write"
	minute              = 2 * time.Second
)

// A world is AWS as two fakes have it, and a reader's shell.
type world struct {
	t       *testing.T
	cloud   *fakeaws.Cloud
	dir     string
	env     []string
	replace *strings.Replacer
	roles   int
}

// program returns where a program is, or skips; in CI it fails.
func program(t *testing.T, name string) string {
	t.Helper()
	at, err := exec.LookPath(name)
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skipf("NOT RUN: the commands of docs/aws: %v", err)
	}
	return at
}

func newWorld(t *testing.T) *world {
	t.Helper()
	cli := mototest.Unpacked(t, "awscli")
	for _, name := range []string{"valkey-server", "valkey-cli", "openssl", "curl", "python3", "shuf"} {
		program(t, name)
	}
	w := &world{t: t, dir: t.TempDir()}
	const soon = 100 * time.Millisecond
	var err error
	w.cloud, err = fakeaws.Start(t.Context(), fakeaws.Config{
		Regions: []string{west1, west2, east1}, Propagation: soon, Minute: minute, RetryScale: minute.Seconds() / 60,
		Times:  &fakeaws.Times{Create: soon, Join: soon, Failover: 5 * soon, Disassociate: soon, Modify: soon, Delete: soon},
		Panels: []fakeaws.Panel{{Name: panel, Controls: []string{west1, west2}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.cloud.Close(); err != nil {
			t.Error(err)
		}
	})
	w.pack()
	arch, file := "x86_64", "dist/lambda-amd64.zip"
	if runtime.GOARCH == "arm64" {
		arch, file = "arm64", "dist/lambda-arm64.zip"
	}
	w.replace = strings.NewReplacer("ARCH=arm64 ZIP=dist/lambda-arm64.zip", "ARCH="+arch+" ZIP="+file)
	w.shims(cli, mototest.Start(t))
	return w
}

// pack makes the archive of the function, for this machine.
func (w *world) pack() {
	w.t.Helper()
	dist := filepath.Join(w.dir, "dist")
	if err := os.Mkdir(dist, 0o700); err != nil {
		w.t.Fatal(err)
	}
	bootstrap := filepath.Join(w.dir, "bootstrap")
	for _, args := range [][]string{
		{"build", "-tags", "lambda.norpc", "-o", bootstrap, "github.com/roam-sessions/roam/cmd/roam-lambda"},
		{"run", "github.com/roam-sessions/roam/internal/awslambda/pack", bootstrap, filepath.Join(dist, "lambda-"+runtime.GOARCH+".zip")},
	} {
		if out, err := exec.CommandContext(w.t.Context(), "go", args...).CombinedOutput(); err != nil { //nolint:gosec // these commands alone
			w.t.Fatalf("go %v: %v: %s", args, err, out)
		}
	}
}

// shims puts an aws and a dig into the reader's PATH that ask the fakes: aws asks moto for what fakeaws has not.
func (w *world) shims(cli, moto string) {
	w.t.Helper()
	bin := filepath.Join(w.dir, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		w.t.Fatal(err)
	}
	script, socket := startCLI(w.t, cli)
	_, port, err := net.SplitHostPort(w.cloud.DNSAddr())
	if err != nil {
		w.t.Fatal(err)
	}
	for name, text := range map[string]string{
		"aws": fmt.Sprintf(`#!/bin/sh
aws() { exec /usr/bin/python3 -S -I %q %q "$@"; }
if [ -n "${AWSDOCS_CHECK:-}" ]; then aws "$@" --generate-cli-skeleton output; fi
for word; do if [ "$word" = --endpoint-url ]; then aws "$@"; fi; done
case $1 in
%s) aws --endpoint-url %s "$@" ;;
*) aws --endpoint-url %s "$@" ;;
esac
`, script, socket, strings.Join(faked(), "|"), w.cloud.FrontURL(), moto),
		"dig": fmt.Sprintf("#!/bin/sh\nexec %q @127.0.0.1 -p %s \"$@\"\n", program(w.t, "dig"), port),
	} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o700); err != nil { //nolint:gosec // they are run
			w.t.Fatal(err)
		}
	}
	ca := filepath.Join(w.dir, "ca.pem")
	if err := os.WriteFile(ca, w.cloud.CA(), 0o600); err != nil {
		w.t.Fatal(err)
	}
	key, secret := w.cloud.Credentials()
	w.env = []string{
		"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + w.dir, "LC_ALL=C.UTF-8", "SSL_CERT_FILE=" + ca, "ADMIN=" + w.cloud.AdminURL(),
		fmt.Sprint("MINUTE_MS=", minute.Milliseconds()),
		"AWS_ACCESS_KEY_ID=" + key, "AWS_SECRET_ACCESS_KEY=" + secret, "AWS_DEFAULT_REGION=" + east1, "AWS_PAGER=", "AWS_EC2_METADATA_DISABLED=true",
	}
}

// startCLI starts the AWS CLI and returns the script by which it is asked, and the socket at which.
func startCLI(t *testing.T, dir string) (script, socket string) {
	t.Helper()
	script, err := filepath.Abs(filepath.Join("testdata", "cli.py"))
	if err != nil {
		t.Fatal(err)
	}
	at, err := os.MkdirTemp("", "awsdocs-") // sockets have short names
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(at) })
	socket = filepath.Join(at, "cli")
	cmd := exec.CommandContext(t.Context(), "/usr/bin/python3", "-S", script, "serve", socket) //nolint:gosec // this command alone
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + at, "PYTHONPATH=" + filepath.Join(dir, "root/usr/lib/python3/dist-packages"),
		"AWS_DEFAULT_REGION=" + east1, "AWS_ACCESS_KEY_ID=nobody", "AWS_SECRET_ACCESS_KEY=nothing", "AWS_EC2_METADATA_DISABLED=true",
	}
	var log bytes.Buffer
	cmd.Stderr = &log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // it ends then
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the AWS CLI does not begin: %q, %v: %s", line, err, log.String())
	}
	return script, socket
}

// read does all that a page has its reader type, and what AWS would do between two blocks.
func (w *world) read(page string, s *shell, between map[string]func(s *shell)) {
	w.t.Helper()
	for _, b := range blocks(w.t, page) {
		if b.Do == "" {
			continue
		}
		s.do(page, b, w.replace)
		if then := between[b.Name]; then != nil {
			then(s)
		}
	}
}

// admit has the functions' roles do what their policies say, which must be what awslambda.Policy does.
func (w *world) admit(s *shell) {
	w.t.Helper()
	for _, region := range []string{west1, west2} {
		file := filepath.Join(w.dir, "policy-"+region+".json")
		raw, err := os.ReadFile(file) //nolint:gosec // a file of this test
		if err != nil {
			w.t.Fatal(err)
		}
		w.roles++
		err = w.cloud.Admit(fakeaws.Principal{
			Key: "AKIAROLE" + strconv.Itoa(w.roles), Secret: "role " + strconv.Itoa(w.roles), ARN: "arn:aws:iam::" + account + ":role/session-reconcile-" + region, Policy: string(raw),
		})
		if err != nil {
			w.t.Fatal(err)
		}
		// The role must be the one that was made.
		if got := s.value("$(aws iam get-role --role-name session-reconcile-" + region + " --query Role.Arn --output text)"); !strings.HasSuffix(got, ":role/session-reconcile-"+region) {
			w.t.Errorf("the role is %s", got)
		}
	}
}

// comparePolicies holds the page's policies against those that the functions need.
func (w *world) comparePolicies(s *shell) {
	w.t.Helper()
	for _, region := range []string{west1, west2} {
		var env struct{ Variables map[string]string }
		var is any
		for file, into := range map[string]any{"environment-": &env, "policy-": &is} {
			raw, err := os.ReadFile(filepath.Join(w.dir, file+region+".json"))
			if err == nil {
				err = json.Unmarshal(raw, into)
			}
			if err != nil {
				w.t.Fatal(err)
			}
		}
		env.Variables["AWS_REGION"] = region
		c, err := awslambda.ReadConfig(func(name string) string { return env.Variables[name] })
		if err != nil {
			w.t.Fatal(err)
		}
		raw, err := awslambda.Policy(c, awslambda.Account{ID: account, Partition: "aws", Function: "session-reconcile", Failures: s.value("${QUEUE[" + region + "]}")})
		if err != nil {
			w.t.Fatal(err)
		}
		var want any
		if err := json.Unmarshal(raw, &want); err != nil {
			w.t.Fatal(err)
		}
		if !reflect.DeepEqual(is, want) {
			w.t.Errorf("the role of %s may do\n%v\nand its function needs\n%v", region, is, want)
		}
	}
}

// schedule does what EventBridge would.
func (w *world) schedule(s *shell) {
	w.t.Helper()
	for _, region := range []string{west1, west2} {
		function := s.value("${FUNCTION[" + region + "]}")
		target := s.value("$(aws events list-targets-by-rule --region " + region + " --rule session-reconcile --query 'Targets[0].Arn' --output text)")
		if target != function {
			w.t.Fatalf("the rule of %s invokes %s, and not %s", region, target, function)
		}
		if err := w.cloud.Schedule(function, minute); err != nil {
			w.t.Fatal(err)
		}
	}
}

// controls tells the shell what ARC's configuration would have.
func (w *world) controls(s *shell) {
	w.t.Helper()
	var endpoints []string
	for _, e := range w.cloud.Endpoints() {
		if e.Service == fakeaws.ARC {
			endpoints = append(endpoints, e.Region+"="+e.URL)
		}
	}
	set := fmt.Sprintf("CONTROL[%s]=%s CONTROL[%s]=%s ENDPOINTS=%s PANEL=panel\n",
		west1, w.cloud.ControlARN(panel, west1), west2, w.cloud.ControlARN(panel, west2), strings.Join(endpoints, ","))
	if _, complaint, ok := s.type_(set, false); !ok {
		w.t.Fatal(complaint)
	}
}
