package lambda

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// A program that runs while its function is given another environment ends when it is done, and
// what comes next is for a new one.
func TestUpdateWhileItRuns(t *testing.T) {
	w := begin(t)
	gate, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = gate.Close() }()
	w.put(t, func(f *Function) { f.Env["GATE"] = gate.Addr().String() })
	answered := make(chan string, 1)
	go func() {
		out, err := w.Client.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("dns"), Payload: []byte(`"gate"`)})
		if err != nil {
			answered <- err.Error()
			return
		}
		answered <- string(out.Payload)
	}()
	c, err := gate.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{
		FunctionName: aws.String("dns"), Environment: &types.Environment{Variables: map[string]string{bootstrapEnv: "1", "NEW": "yes"}},
	})
	if err = errors.Join(err, c.Close()); err != nil {
		t.Fatal(err)
	}
	if got := <-answered; !strings.Contains(got, `"n":1`) {
		t.Errorf("the one that ran answers %s", got)
	}
	if got, failure := w.call(t, "env"); failure != "" || !strings.Contains(got, `"NEW=yes"`) || strings.Contains(got, "GATE=") {
		t.Errorf("the next one has %s, %q", got, failure)
	}
}

// A function that may not run is throttled, and what waits for it is tried until it may.
func TestConcurrency(t *testing.T) {
	w := begin(t)
	arn := w.put(t, nil)
	set := func(n int32) {
		t.Helper()
		if _, err := w.PutFunctionConcurrency(t.Context(), &lambda.PutFunctionConcurrencyInput{FunctionName: &arn, ReservedConcurrentExecutions: &n}); err != nil {
			t.Fatal(err)
		}
	}
	reserved := func() *int32 {
		out, err := w.GetFunction(t.Context(), &lambda.GetFunctionInput{FunctionName: &arn})
		if err != nil {
			t.Fatal(err)
		}
		if out.Concurrency == nil {
			return nil
		}
		return out.Concurrency.ReservedConcurrentExecutions
	}
	if got := reserved(); got != nil {
		t.Errorf("%d programs are reserved by nobody", *got)
	}
	set(0)
	if got := reserved(); got == nil || *got != 0 {
		t.Errorf("reserved are %v programs, want 0", got)
	}
	_, err := w.Client.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("dns")})
	if _, ok := errors.AsType[*types.TooManyRequestsException](err); !ok {
		t.Errorf("invoked at concurrency 0: %v", err)
	}
	if err := w.Fake.Invoke("sns.amazonaws.com", arn, []byte(`"print"`)); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(time.Minute)
	set(1)
	w.clock.Advance(time.Hour)
	w.line(t)
	w.line(t)
	set(0)
	if err := w.Fake.Invoke("sns.amazonaws.com", arn, []byte(`"print"`)); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(7 * time.Hour)
	if len(w.buried) != 1 || !strings.Contains(w.buried[0], "EventAgeExceeded") {
		t.Errorf("six hours later: %q, want it given up", w.buried)
	}
}
