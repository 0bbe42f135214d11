package lambda

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"

	"github.com/roam-sessions/roam/fakeaws/internal/clock"
	"github.com/roam-sessions/roam/fakeaws/internal/door"
)

// bootstrapEnv makes this program a bootstrap.
const bootstrapEnv = "FAKEAWS_TEST_BOOTSTRAP"

func TestMain(m *testing.M) {
	if os.Getenv(bootstrapEnv) != "" {
		bootstrap(os.Getenv("AWS_LAMBDA_RUNTIME_API"))
		return
	}
	goleak.VerifyTestMain(m)
}

// bootstrap does as the event's text says.
func bootstrap(api string) {
	if os.Getenv("FAIL_INIT") != "" {
		os.Exit(3)
	}
	base := "http://" + api + runtimePath + "invocation/"
	for n := 1; ; n++ {
		resp, err := http.Get(base + "next")
		if err != nil {
			return
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		id := resp.Header.Get("Lambda-Runtime-Aws-Request-Id")
		var what string
		_ = json.Unmarshal(body, &what)
		path, reply := "/response", fmt.Sprintf(`{"n":%d,"arn":%q}`, n, resp.Header.Get("Lambda-Runtime-Invoked-Function-Arn"))
		switch what {
		case "env":
			text, _ := json.Marshal(os.Environ())
			reply = string(text)
		case "print":
			fmt.Println("hello from", os.Getenv("AWS_LAMBDA_FUNCTION_NAME"))
			fmt.Fprintln(os.Stderr, "and on stderr")
		case "fail":
			path, reply = "/error", `{"errorType":"Broken","errorMessage":"as asked"}`
		case "exit":
			os.Exit(7)
		case "hang":
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err == nil {
				_, _ = l.Accept() // nobody comes
			}
		case "gate":
			if c, err := net.Dial("tcp", os.Getenv("GATE")); err == nil {
				_, _ = io.ReadAll(c) // until it is closed
				_ = c.Close()
			}
		case "wrong":
			id = "other"
		}
		answer, err := http.Post(base+id+path, "application/json", strings.NewReader(reply))
		if err != nil {
			return
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusAccepted {
			fmt.Println("refused", answer.StatusCode)
		}
	}
}

// A world is a fake with a client, and what it buried.
type world struct {
	*Fake
	*lambda.Client
	clock *clock.Manual

	printed chan string

	mu     sync.Mutex
	buried []string
}

func begin(t *testing.T) *world {
	t.Helper()
	w := &world{clock: clock.NewManual(time.Date(2026, 6, 1, 10, 0, 0, 0, time.UTC)), printed: make(chan string, 100)}
	w.Fake = New(t.Context(), Config{
		Clock: w.clock, Account: "123456789012", Regions: []string{"us-west-2"}, Dir: t.TempDir(),
		Environ: func(region, role string) []string { return []string{"AWS_ACCESS_KEY_ID=key of " + role} },
		Print:   func(_, _, line string) { w.printed <- line },
		Bury: func(queue, function, body, why string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.buried = append(w.buried, queue+" "+function+" "+body+" "+why)
		},
	})
	keeper := door.NewKeeper(w.clock, "123456789012")
	keeper.Admit("AKID", door.Caller{Secret: "secret"})
	server := httptest.NewServer(keeper.Door(w.Service(), "us-west-2"))
	transport := &http.Transport{}
	w.Client = lambda.New(lambda.Options{
		Region: "us-west-2", BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", ""),
		HTTPClient: &http.Client{Transport: transport}, RetryMaxAttempts: 1,
	})
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
		w.Close()
	})
	return w
}

func (w *world) put(t *testing.T, change func(f *Function)) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f := Function{
		Name: "dns", Region: "us-west-2", Role: "arn:aws:iam::123456789012:role/dns", Bootstrap: self,
		Env: map[string]string{bootstrapEnv: "1"}, Timeout: 30 * time.Second, Invokers: []string{"sns.amazonaws.com", "events.amazonaws.com"},
	}
	if change != nil {
		change(&f)
	}
	arn, err := w.Put(f)
	if err != nil {
		t.Fatal(err)
	}
	return arn
}

// line waits for a line that a program prints.
func (w *world) line(t *testing.T) string {
	t.Helper()
	select {
	case line := <-w.printed:
		return line
	case <-time.After(20 * time.Second):
		t.Fatal("nothing is printed")
		return ""
	}
}

func (w *world) call(t *testing.T, what string) (body, failure string) {
	t.Helper()
	out, err := w.Client.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("dns"), Payload: fmt.Appendf(nil, "%q", what)})
	if err != nil {
		t.Fatal(err)
	}
	return string(out.Payload), aws.ToString(out.FunctionError)
}

func code(err error) string {
	if f, ok := errors.AsType[*door.Fault](err); ok {
		return f.Code
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return ""
}

// A program is started once, has the runtime's environment, and is started anew when it
// has ended.
func TestInvoke(t *testing.T) {
	w := begin(t)
	arn := w.put(t, nil)
	for n := 1; n <= 2; n++ {
		if got, failure := w.call(t, "x"); got != fmt.Sprintf(`{"n":%d,"arn":%q}`, n, arn) || failure != "" {
			t.Errorf("call %d: %s, %q", n, got, failure)
		}
	}
	w.call(t, "print")
	if first, second := w.line(t), w.line(t); first != "hello from dns" || second != "and on stderr" || len(w.Log(arn)) != 2 {
		t.Errorf("it printed %q and %q, and the log is %q", first, second, w.Log(arn))
	}
	if got, failure := w.call(t, "fail"); failure != "Unhandled" || !strings.Contains(got, "as asked") {
		t.Errorf("failed: %s, %q", got, failure)
	}
	if got, failure := w.call(t, "exit"); failure != "Unhandled" || !strings.Contains(got, "Runtime.ExitError") || !strings.Contains(got, "exit status 7") {
		t.Errorf("exited: %s, %q", got, failure)
	}
	if got, _ := w.call(t, "x"); !strings.HasPrefix(got, `{"n":1,`) {
		t.Errorf("after that: %s, want a new program", got)
	}
}

func TestEnvironment(t *testing.T) {
	w := begin(t)
	w.put(t, nil)
	text, _ := w.call(t, "env")
	var env []string
	if err := json.Unmarshal([]byte(text), &env); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"_HANDLER=bootstrap", "AWS_REGION=us-west-2", "AWS_LAMBDA_FUNCTION_NAME=dns", "AWS_LAMBDA_FUNCTION_VERSION=$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128", "AWS_ACCESS_KEY_ID=key of arn:aws:iam::123456789012:role/dns", "TZ=:UTC",
	} {
		if !slices.Contains(env, want) {
			t.Errorf("the environment lacks %s", want)
		}
	}
	for _, e := range env {
		if strings.HasPrefix(e, "HOME=") || strings.HasPrefix(e, "GO") {
			t.Errorf("the environment has ours: %s", e)
		}
	}
}

func TestTimeout(t *testing.T) {
	w := begin(t)
	w.put(t, func(f *Function) { f.Timeout = time.Second })
	for _, what := range []string{"hang", "wrong"} {
		if got, failure := w.call(t, what); failure != "Unhandled" || !strings.Contains(got, "Task timed out after 1.00 seconds") {
			t.Errorf("%s: %s, %q", what, got, failure)
		}
	}
	if got, _ := w.call(t, "x"); !strings.HasPrefix(got, `{"n":1,`) {
		t.Errorf("after that: %s, want a new program", got)
	}
	if got := w.line(t); got != "refused 400" {
		t.Errorf("the answer to another invocation: %q, want that it is refused", got)
	}
}

func TestProgramsThatDoNotBegin(t *testing.T) {
	w := begin(t)
	w.put(t, func(f *Function) { f.Env["FAIL_INIT"] = "1" })
	if got, failure := w.call(t, "x"); failure != "Unhandled" || !strings.Contains(got, "exit status 3") {
		t.Errorf("it exits: %s, %q", got, failure)
	}
	w.put(t, func(f *Function) { f.Name, f.Bootstrap = "none", "/no/such/program" })
	out, err := w.Client.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("none")})
	if err != nil || !strings.Contains(string(out.Payload), "Runtime.InvalidEntrypoint") {
		t.Errorf("it is not there: %+v, %v", out, err)
	}
}

// What fails later is tried again after one minute and two, and then goes to its queue.
func TestRetries(t *testing.T) {
	w := begin(t)
	arn := w.put(t, func(f *Function) { f.Queue = "arn:aws:sqs:us-west-2:123456789012:dead" })
	if err := w.Fake.Invoke("sns.amazonaws.com", arn, []byte(`"print"`)); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(0)
	w.line(t)
	w.line(t)
	w.clock.Advance(time.Hour)
	w.call(t, "x")
	if len(w.printed) != 0 || len(w.buried) != 0 {
		t.Errorf("a good one was tried again, or buried: %q", w.buried)
	}
	_, err := w.Client.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("dns"), Payload: []byte(`"fail"`), InvocationType: types.InvocationTypeEvent})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		later  time.Duration
		buried int
	}{{0, 0}, {time.Minute, 0}, {2*time.Minute - 1, 0}, {1, 1}} {
		w.clock.Advance(c.later)
		if len(w.buried) != c.buried {
			t.Fatalf("%v later %d are buried, want %d", c.later, len(w.buried), c.buried)
		}
	}
	for _, want := range []string{"arn:aws:sqs:us-west-2:123456789012:dead " + arn, `"condition":"RetriesExhausted"`, `"approximateInvokeCount":3`, `"requestPayload":"fail"`, "as asked"} {
		if !strings.Contains(w.buried[0], want) {
			t.Errorf("the letter lacks %s: %s", want, w.buried[0])
		}
	}
	if err := w.Fake.Invoke("s3.amazonaws.com", arn, nil); code(err) != "AccessDeniedException" {
		t.Errorf("invoked by a stranger: %v", err)
	}
	if err := w.Fake.Invoke("sns.amazonaws.com", arn+"x", nil); code(err) != "ResourceNotFoundException" {
		t.Errorf("no function: %v", err)
	}
}

func TestSchedule(t *testing.T) {
	w := begin(t)
	arn := w.put(t, func(f *Function) { f.Invokers = []string{"events.amazonaws.com"} })
	if err := w.Schedule(arn, time.Minute); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(3*time.Minute + time.Second)
	got, _ := w.call(t, "x")
	if !strings.HasPrefix(got, `{"n":4,`) {
		t.Errorf("three minutes later: %s, want the fourth call", got)
	}
}

func packed(t *testing.T, names map[string]os.FileMode) []byte {
	t.Helper()
	self, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, mode := range names {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		h.SetMode(mode)
		out, err := z.CreateHeader(h)
		if err == nil {
			_, err = out.Write(self)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// create makes a function of a package.
func (w *world) create(t *testing.T, change func(in *lambda.CreateFunctionInput)) error {
	t.Helper()
	in := &lambda.CreateFunctionInput{
		FunctionName: aws.String("zipped"), Runtime: types.RuntimeProvidedal2023, Handler: aws.String("bootstrap"),
		Role: aws.String("arn:aws:iam::123456789012:role/dns"), Architectures: []types.Architecture{types.Architecture(architecture())},
		Code: &types.FunctionCode{ZipFile: packed(t, map[string]os.FileMode{"bootstrap": 0o755, "a/b.txt": 0o644})}, Timeout: aws.Int32(90),
	}
	if change != nil {
		change(in)
	}
	_, err := w.CreateFunction(t.Context(), in)
	return err
}

func TestPackagesAreJudged(t *testing.T) {
	w := begin(t)
	create := func(change func(in *lambda.CreateFunctionInput)) error { return w.create(t, change) }
	if err := create(nil); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		err  error
		want string
	}{
		"again":           {create(nil), "ResourceConflictException"},
		"another runtime": {create(func(in *lambda.CreateFunctionInput) { in.Runtime = types.RuntimePython312 }), "InvalidParameterValueException"},
		"another machine": {create(func(in *lambda.CreateFunctionInput) { in.Architectures = []types.Architecture{"sparc"} }), "InvalidParameterValueException"},
		"too much time":   {create(func(in *lambda.CreateFunctionInput) { in.Timeout = aws.Int32(901) }), "InvalidParameterValueException"},
		"no bootstrap":    {create(func(in *lambda.CreateFunctionInput) { in.Code.ZipFile = packed(t, map[string]os.FileMode{"x": 0o755}) }), "InvalidParameterValueException"},
		"not executable": {create(func(in *lambda.CreateFunctionInput) {
			in.Code.ZipFile = packed(t, map[string]os.FileMode{"bootstrap": 0o644})
		}), "InvalidParameterValueException"},
		"out of the place": {create(func(in *lambda.CreateFunctionInput) {
			in.Code.ZipFile = packed(t, map[string]os.FileMode{"bootstrap": 0o755, "../x": 0o644})
		}), "InvalidParameterValueException"},
		"no zip": {create(func(in *lambda.CreateFunctionInput) { in.Code.ZipFile = []byte("zip") }), "InvalidParameterValueException"},
	} {
		if code(c.err) != c.want {
			t.Errorf("%s: %v, want %s", what, c.err, c.want)
		}
	}
}

func TestFunctionsByTheAPI(t *testing.T) {
	w := begin(t)
	ctx := t.Context()
	if err := w.create(t, nil); err != nil {
		t.Fatal(err)
	}
	out, err := w.Client.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("zipped")})
	if err != nil || !strings.Contains(string(out.Payload), "Runtime exited without providing a reason") {
		t.Errorf("a program that ends well at once: %s, %v", out.Payload, err)
	}
	_, err = w.AddPermission(ctx, &lambda.AddPermissionInput{
		FunctionName: aws.String("zipped"), Action: aws.String("lambda:InvokeFunction"), Principal: aws.String("sns.amazonaws.com"), StatementId: aws.String("s"),
	})
	if err != nil {
		t.Error(err)
	}
	if err := w.Fake.Invoke("sns.amazonaws.com", w.ARN("us-west-2", "zipped"), nil); err != nil {
		t.Errorf("permitted: %v", err)
	}
	config, err := w.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: aws.String("zipped"), Environment: &types.Environment{Variables: map[string]string{"A": "b"}}})
	if err != nil || config.Environment.Variables["A"] != "b" || *config.Timeout != 90 {
		t.Errorf("updated: %+v, %v", config, err)
	}
	list, err := w.ListFunctions(ctx, &lambda.ListFunctionsInput{})
	if err != nil || len(list.Functions) != 1 || *list.Functions[0].FunctionArn != w.ARN("us-west-2", "zipped") {
		t.Errorf("listed: %+v, %v", list, err)
	}
	if _, err := w.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: aws.String("zipped")}); err != nil {
		t.Error(err)
	}
	_, err = w.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: aws.String("zipped")})
	if _, ok := errors.AsType[*types.ResourceNotFoundException](err); !ok {
		t.Errorf("deleted: %v", err)
	}
}

// Whatever a package says, nothing is written beside its directory.
func FuzzDecodeZip(f *testing.F) {
	for _, name := range []string{"bootstrap", "../bootstrap", "/bootstrap", "a/../../b"} {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		h := &zip.FileHeader{Name: name}
		h.SetMode(0o755)
		if _, err := z.CreateHeader(h); err != nil {
			f.Fatal(err)
		}
		if err := z.Close(); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		files, err := decodeZip(body)
		if err != nil {
			return
		}
		root := t.TempDir()
		dir := filepath.Join(root, "in")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		_ = unpack(files, dir) // it may be broken
		if beside, err := os.ReadDir(root); err != nil || len(beside) != 1 {
			t.Errorf("beside its directory there is %v, %v", beside, err)
		}
	})
}
