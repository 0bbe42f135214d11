package cli

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/roam-sessions/roam/internal/awsdeploy"
)

// A tinyCloud is as much of AWS as a deployment of one stack needs; what it is asked for is done at once.
type tinyCloud struct {
	mu       sync.Mutex // guards what follows
	status   string     // of the one stack; empty: there is none
	template string
	given    string
	calls    []string
	table    bool
}

func (c *tinyCloud) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	body, _ := io.ReadAll(r.Body) // an answer to half a question is an error there
	r.Body = io.NopCloser(bytes.NewReader(body))
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		c.control(rw, target)
		return
	}
	_ = r.ParseForm()
	action := r.Form.Get("Action")
	c.calls = append(c.calls, action)
	out := ""
	switch action {
	case "GetCallerIdentity":
		out = "<Account>123456789012</Account><Arn>arn:aws:iam::123456789012:user/someone</Arn>"
	case "CreateStack":
		c.status, c.template, c.table = "CREATE_COMPLETE", r.Form.Get("TemplateBody"), true
		for i := 1; r.Form.Has(fmt.Sprintf("Parameters.member.%d.ParameterKey", i)); i++ {
			c.given += fmt.Sprintf("<member><ParameterKey>%s</ParameterKey><ParameterValue>%s</ParameterValue></member>",
				r.Form.Get(fmt.Sprintf("Parameters.member.%d.ParameterKey", i)), r.Form.Get(fmt.Sprintf("Parameters.member.%d.ParameterValue", i)))
		}
		out = "<StackId>arn:stack</StackId>"
	case "DeleteStack":
		c.status = "DELETE_COMPLETE"
	case "DescribeStacks":
		if c.status == "" || c.status == "DELETE_COMPLETE" && r.Form.Get("StackName") != "arn:stack" {
			rw.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(rw, "<ErrorResponse><Error><Code>ValidationError</Code><Message>Stack does not exist</Message></Error></ErrorResponse>")
			return
		}
		out = "<Stacks><member><StackId>arn:stack</StackId><StackName>shop-table</StackName><StackStatus>" + c.status + "</StackStatus><CreationTime>2026-01-01T00:00:00Z</CreationTime>" +
			"<Parameters>" + c.given + "</Parameters><Outputs><member><OutputKey>Table</OutputKey><OutputValue>shop-sessions</OutputValue></member></Outputs>" +
			"<Tags><member><Key>roam:deployment</Key><Value>shop</Value></member></Tags></member></Stacks>"
	case "DescribeStackEvents":
		out = "<StackEvents><member><EventId>" + c.status + "</EventId><StackId>arn:stack</StackId><StackName>shop-table</StackName><Timestamp>2026-01-01T00:00:00Z</Timestamp>" +
			"<LogicalResourceId>Table</LogicalResourceId><ResourceType>AWS::DynamoDB::GlobalTable</ResourceType><ResourceStatus>" + c.status + "</ResourceStatus></member></StackEvents>"
	case "GetTemplate":
		out = "<TemplateBody>" + strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(c.template) + "</TemplateBody>"
	}
	_, _ = fmt.Fprintf(rw, "<%[1]sResponse><%[1]sResult>%[2]s</%[1]sResult></%[1]sResponse>", action, out)
}

// control is Cloud Control, which knows of one table.
func (c *tinyCloud) control(rw http.ResponseWriter, target string) {
	action := target[strings.LastIndex(target, ".")+1:]
	c.calls = append(c.calls, action)
	switch {
	case !c.table:
		rw.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(rw, `{"__type":"ResourceNotFoundException"}`)
	case action == "GetResource":
		_, _ = io.WriteString(rw, `{"ResourceDescription":{"Properties":"{}"}}`)
	default:
		c.table = action != "DeleteResource"
		_, _ = io.WriteString(rw, `{"ProgressEvent":{"OperationStatus":"SUCCESS","RequestToken":"t"}}`)
	}
}

// oneTable is a deployment of one stack.
const oneTable = `version: 1
name: shop
variant: dynamodb
regions: [{name: us-east-1}]
retain: nothing
`

// awsWorld starts a tinyCloud, and returns what runs commands against it.
func awsWorld(t *testing.T, typed string) (cloud *tinyCloud, run func(args ...string) (code int, out, talk string)) {
	t.Helper()
	cloud = &tinyCloud{}
	server := httptest.NewServer(cloud)
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "aws.yaml")
	if err := os.WriteFile(file, []byte(oneTable), 0o600); err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{"AWS_ENDPOINT_URL": server.URL, "AWS_ACCESS_KEY_ID": "AKIDX", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "us-east-1"} {
		t.Setenv(key, value)
	}
	return cloud, func(args ...string) (int, string, string) {
		var out, talk bytes.Buffer
		root := rootCommand()
		root.SetArgs(append(append([]string{"aws"}, args...), "-f", file))
		root.SetOut(&out)
		root.SetErr(&talk)
		root.SetIn(strings.NewReader(typed))
		code := exitCode(root.ExecuteContext(t.Context()), &talk)
		http.DefaultClient.CloseIdleConnections()
		return code, out.String(), talk.String()
	}
}

// The life of a deployment, as people see it.
func TestAWSCommands(t *testing.T) {
	cloud, run := awsWorld(t, "shop\n")
	for i, c := range []struct {
		args      []string
		code      int
		out, talk string
	}{
		{[]string{"deploy", "--dry-run"}, exitOK, "create", "shop in account 123456789012, as arn:aws:iam::123456789012:user/someone\n"},
		{[]string{"status"}, exitFailed, "there is no such stack", "account"},
		{[]string{"deploy"}, exitOK, "shop is as ", "[1/1]   create complete  Table (AWS::DynamoDB::GlobalTable)\n[1/1] created after 0:00\n"},
		{[]string{"deploy", "--json"}, exitOK, `"kind":"done","step":1,"steps":1,"do":"stack","stack":"shop-`, "account"},
		{[]string{"status"}, exitOK, "1 ok, 0 unknown, 0 to look at, 0 faults", "account"},
		{[]string{"status", "--json"}, exitOK, `"state": "ok"`, "account"},
		{[]string{"destroy", "--dry-run"}, exitOK, "delete stack shop-", "account"},
		{[]string{"destroy", "--yes", "shop2"}, exitUsage, "", `"shop2" is not "shop": nothing was done`},
		{[]string{"destroy"}, exitOK, "nothing remains that costs anything", "Type its name, shop, to go on: "},
		{[]string{"destroy", "--yes", "shop", "--json"}, exitOK, `{"kind":"remains","remains":[]}`, "account"},
	} {
		code, out, talk := run(c.args...)
		if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(talk, c.talk) {
			t.Errorf("step %d: roam aws %v ended with %d\n%s\n%s\nwant %d, %q and %q", i, c.args, code, out, talk, c.code, c.out, c.talk)
		}
	}
	if n := strings.Count(strings.Join(cloud.calls, " "), "CreateStack"); n != 1 {
		t.Errorf("CreateStack was called %d times, want once", n)
	}
}

// Who types nothing, or something else, has done nothing.
func TestAWSDestroyWantsTheName(t *testing.T) {
	for _, typed := range []string{"", "\n", "shopp\n", "y\n"} {
		cloud, run := awsWorld(t, typed)
		cloud.status = "CREATE_COMPLETE"
		if code, out, talk := run("destroy"); code != exitUsage || out != "" || cloud.status != "CREATE_COMPLETE" {
			t.Errorf("typed %q: it ended with %d, stack %s\n%s\n%s", typed, code, cloud.status, out, talk)
		}
	}
}

// Purging asks for another word, and leaves what is kept.
func TestAWSPurgeWantsTheNameAgain(t *testing.T) {
	a := &awsAsking{}
	var out bytes.Buffer
	remains := []awsdeploy.Remainder{
		{Type: "AWS::KMS::Key", Region: "us-west-1", ID: "k", Why: "snapshots need it"},
		{Type: "AWS::EC2::VPC", Region: "us-west-1", ID: "shop", Why: "a network", Held: "shop-network", Keep: true, Unsure: true},
	}
	if err := a.printRemainders(&out, remains); err != nil || !strings.Contains(out.String(), "stack shop-network has it: a network (maybe: it could not be looked at)") {
		t.Errorf("it prints %v\n%s", err, out.String())
	}
	_, run := awsWorld(t, "shop\n")
	if code, _, talk := run("destroy", "--purge", "--yes", "shop"); code != exitOK || !strings.Contains(talk, "there is nothing to purge") {
		t.Errorf("with nothing to purge it ended with %d\n%s", code, talk)
	}
}

func TestReadLineLeavesTheNext(t *testing.T) {
	in := strings.NewReader("shop\nshop2")
	for _, want := range []string{"shop", "shop2", ""} {
		if got, err := readLine(in); err != nil || got != want {
			t.Errorf("readLine = %q, %v, want %q", got, err, want)
		}
	}
	if got, err := readLine(strings.NewReader(strings.Repeat("x", 1000))); err != nil || len(got) != 256 {
		t.Errorf("readLine of a long line = %d bytes, %v", len(got), err)
	}
}

func TestAWSTellerLines(t *testing.T) {
	teller := func(live bool) *awsTeller { return &awsTeller{live: live, busy: map[string]bool{}} }
	event := func(kind, status, text string) awsdeploy.Event {
		return awsdeploy.Event{Kind: kind, Step: 3, Steps: 14, Do: "stack", Stack: "shop-cache", Region: "us-west-1", Resource: "Cache", Type: "T", Status: status, Text: text, Took: 3725}
	}
	for _, c := range []struct {
		live bool
		e    awsdeploy.Event
		want string
	}{
		{false, event(awsdeploy.Begun, "", "It keeps sessions."), "[ 3/14] us-west-1 shop-cache: It keeps sessions."},
		{false, event(awsdeploy.Resource, "CREATE_IN_PROGRESS", ""), "[ 3/14]   create in progress  Cache (T)"},
		{true, event(awsdeploy.Resource, "CREATE_IN_PROGRESS", ""), ""},
		{true, event(awsdeploy.Resource, "CREATE_FAILED", "why"), "[ 3/14]   create failed  Cache (T): why"},
		{true, event(awsdeploy.Note, "", "peering is pending"), "[ 3/14]   peering is pending"},
		{true, event(awsdeploy.Done, "", "created"), "[ 3/14] created after 1:02:05"},
		{true, event(awsdeploy.Failed, "", "stack is …"), "[ 3/14] failed after 1:02:05"},
	} {
		if got := teller(c.live).line(c.e); got != c.want {
			t.Errorf("line of %+v = %q, want %q", c.e, got, c.want)
		}
	}
}

// On a terminal a line tells how long it takes, and is taken back.
func TestAWSTellerTicks(t *testing.T) {
	var out bytes.Buffer
	var mu sync.Mutex
	c := &cobra.Command{}
	c.SetErr(lockedWriter{&mu, &out})
	teller := newAWSTeller(c, false)
	teller.live = true
	teller.tell(awsdeploy.Event{At: time.Now().Add(-65 * time.Second), Kind: awsdeploy.Begun, Step: 1, Steps: 2, Do: "stack", Stack: "s", Region: "r", Text: "why"})
	teller.end()
	teller.end()
	if got := out.String(); !strings.Contains(got, "[1/2] r s: why\n") || !strings.HasSuffix(got, "[1/2] r s  1:05, 0 in progress"+clearLine) {
		t.Errorf("it says %q", got)
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
