package awsdeploy

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/roam-sessions/roam/internal/awsplan"
	"github.com/roam-sessions/roam/internal/awstest"
)

const (
	account = "123456789012"
	west1   = "us-west-1"
	west2   = "us-west-2"
)

// A call is a request that was understood.
type call struct {
	service, region, action string
	about                   string // a stack's name, a group's ID and so on
}

// A fate is what becomes of a call. The zero fate has it carried out.
type fate struct {
	lost    bool // nobody gets it
	unheard bool // it is carried out, and its answer lost
	code    string
	status  int // with code; zero: 400
}

// A refusal is an error as AWS tells it.
type refusal struct {
	code, message string
	status        int
}

func refuse(code, format string, args ...any) *refusal {
	return &refusal{code, fmt.Sprintf(format, args...), http.StatusBadRequest}
}

// A world is all of AWS that there is, in virtual time. It answers as an http.Client would.
type world struct {
	mu       sync.Mutex // guards what follows
	calls    []call
	fate     func(n int, c call) fate
	unsigned []string
	tokens   int

	formation formation
	cache     cache
	zone      []string          // records of Route 53 as "TYPE name"
	peerings  map[string]string // state by ID
	controls  map[string]bool
	resources map[string]string // of Cloud Control: properties by "Region type ID"
	pending   map[string]string // its operations: what is to be deleted
}

func newWorld() *world {
	w := &world{peerings: map[string]string{}, controls: map[string]bool{}, resources: map[string]string{}, pending: map[string]string{}}
	w.formation.w = w
	return w
}

var errLost = errors.New("connection reset by peer")

// Do answers a request.
func (w *world) Do(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body) // it is in memory
	}
	if r.Host == "" {
		r.Host = r.URL.Host
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	region, service, err := awstest.Signed(r, body, time.Now())
	if want := hostOf(service, region); err == nil && r.Host != want {
		err = fmt.Errorf("signed for %s in %s, and sent to %s", service, region, r.Host)
	}
	if err != nil {
		w.unsigned = append(w.unsigned, fmt.Sprintf("%s %s: %v", r.Method, r.URL, err))
		return answer(r, http.StatusForbidden, err.Error()), nil
	}
	form, _ := url.ParseQuery(string(body))
	c := call{service, region, actionOf(r, form), ""}
	c.about = cmp.Or(form.Get("StackName"), form.Get("GlobalReplicationGroupId"), form.Get("ReplicationGroupId"), form.Get("CacheClusterId"), form.Get("SnapshotName"))
	w.calls = append(w.calls, c)
	var f fate
	if w.fate != nil {
		f = w.fate(len(w.calls), c)
	}
	if f.lost {
		return nil, cmp.Or(r.Context().Err(), errLost)
	}
	if f.code != "" {
		return failed(r, service, &refusal{f.code, "by fate", cmp.Or(f.status, http.StatusBadRequest)}), nil
	}
	w.formation.advance(time.Now())
	out, no := w.carry(c, r, form, body)
	if f.unheard {
		return nil, cmp.Or(r.Context().Err(), errLost)
	}
	if no != nil {
		return failed(r, service, no), nil
	}
	return answer(r, http.StatusOK, out), nil
}

// hostOf is where a service answers.
func hostOf(service, region string) string {
	switch service {
	case "route53":
		return "route53.amazonaws.com"
	case "route53-recovery-cluster":
		return "abc.route53-recovery-cluster." + region + ".amazonaws.com"
	}
	return service + "." + region + ".amazonaws.com"
}

func actionOf(r *http.Request, form url.Values) string {
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		return target[strings.LastIndex(target, ".")+1:]
	}
	switch {
	case form.Get("Action") != "":
		return form.Get("Action")
	case strings.HasPrefix(r.URL.Path, "/cluster/") && r.Method == http.MethodGet:
		return "DescribeCluster"
	case strings.HasSuffix(strings.TrimSuffix(r.URL.Path, "/"), "/rrset") && r.Method == http.MethodGet:
		return "ListResourceRecordSets"
	case strings.HasSuffix(strings.TrimSuffix(r.URL.Path, "/"), "/rrset"):
		return "ChangeResourceRecordSets"
	}
	return r.Method + " " + r.URL.Path
}

func (w *world) carry(c call, r *http.Request, form url.Values, body []byte) (string, *refusal) {
	switch c.service {
	case "cloudformation":
		return w.formation.do(c, form)
	case "elasticache":
		return w.cache.do(c, form, time.Now())
	case "sts":
		return envelope(c.action, el("Account", account)+el("Arn", "arn:aws:iam::"+account+":user/someone")), nil
	case "ec2":
		return w.ec2(c, form)
	case "route53":
		return w.route53(c, body)
	case "route53-recovery-cluster", "route53-recovery-control-config":
		return w.arc(c, r, body)
	case "cloudcontrolapi":
		return w.control(c, body)
	}
	return "", refuse("UnknownService", "%s", c.service)
}

// el is an element with text.
func el(name, text string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(text)) // a buffer takes all
	return "<" + name + ">" + b.String() + "</" + name + ">"
}

// in is an element with others in it.
func in(name string, inner ...string) string {
	return "<" + name + ">" + strings.Join(inner, "") + "</" + name + ">"
}

func envelope(action, inner string) string {
	return in(action+"Response", in(action+"Result", inner), in("ResponseMetadata", el("RequestId", "r")))
}

func answer(r *http.Request, status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r, ContentLength: int64(len(body))}
}

// failed tells an error as a service does.
func failed(r *http.Request, service string, no *refusal) *http.Response {
	switch service {
	case "cloudcontrolapi", "route53-recovery-cluster", "route53-recovery-control-config":
		return answer(r, no.status, fmt.Sprintf(`{"__type":"com.amazonaws#%s","message":%q}`, no.code, no.message))
	case "ec2":
		return answer(r, no.status, in("Response", in("Errors", in("Error", el("Code", no.code), el("Message", no.message))), el("RequestID", "r")))
	}
	return answer(r, no.status, in("ErrorResponse", in("Error", el("Type", "Sender"), el("Code", no.code), el("Message", no.message)), el("RequestId", "r")))
}

// config reaches a world with its credentials.
func (w *world) config() aws.Config {
	return aws.Config{Region: west1, HTTPClient: w, Credentials: credentials.NewStaticCredentialsProvider(awstest.KeyID, awstest.Secret, "")}
}

// deployer carries a plan out in a world, and notes what is told.
func (w *world) deployer(p awsplan.Plan, c Config) (*Deployer, *[]Event) {
	var told []Event
	c.Tell = func(e Event) { told = append(told, e) }
	return New(w.config(), p, testTemplate, c), &told
}

// count counts calls of an action.
func (w *world) count(action string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.calls {
		if c.action == action {
			n++
		}
	}
	return n
}

// sound fails a test if a request was not signed for where it went.
func (w *world) sound(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.unsigned) > 0 {
		t.Errorf("requests that AWS would not take: %s", strings.Join(w.unsigned, "\n"))
	}
}

// text is what was told, one event a line, without times.
func text(told []Event) string {
	var b strings.Builder
	for _, e := range told {
		fmt.Fprintf(&b, "%d/%d %s %s %s\n", e.Step, e.Steps, e.Kind, strings.TrimSpace(e.Resource+" "+e.Status), e.Text)
	}
	return b.String()
}

// tell returns the texts of events of a kind.
func texts(told []Event, kind string) (out []string) {
	for _, e := range told {
		if e.Kind == kind {
			out = append(out, e.Text)
		}
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func nowOf() time.Time { return time.Now().Add(time.Hour) }
