package ssm

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/fakeaws/internal/clock"
	"github.com/roam-sessions/roam/fakeaws/internal/door"
)

func ask(t *testing.T, f *Fake, region, action string, params door.Params) (map[string]any, string) {
	t.Helper()
	out, err := f.act(t.Context(), &door.Call{Region: region, Action: action, Params: params})
	if err != nil {
		fault, ok := errors.AsType[*door.Fault](err)
		if !ok {
			t.Fatal(err)
		}
		return nil, fault.Code
	}
	raw, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		t.Fatal(err)
	}
	return fields, ""
}

// Parameters are kept by Region, written over if that is said, and found by their names.
func TestParameters(t *testing.T) {
	f := New(Config{Clock: clock.NewManual(time.Unix(1780000000, 0)), Account: "123456789012", Regions: []string{"us-west-1", "us-west-2"}})
	put := func(region, name, value string, over bool) string {
		_, code := ask(t, f, region, "PutParameter", door.Params{"Name": name, "Value": value, "Type": "String", "Overwrite": over})
		return code
	}
	if code := put("us-west-1", "/roam/switch", "on", false); code != "" {
		t.Fatal(code)
	}
	if code := put("us-west-1", "/roam/switch", "off", false); code != "ParameterAlreadyExists" {
		t.Errorf("written over without a word: %q", code)
	}
	if code := put("us-west-1", "/roam/switch", "off", true); code != "" {
		t.Error(code)
	}
	for name, value := range map[string]string{"": "x", "/a/": "x", "a b": "x", "/a": "", "/b": strings.Repeat("x", mostBytes+1)} {
		if code := put("us-west-1", name, value, false); code != "ValidationException" {
			t.Errorf("%q with %d bytes: %q", name, len(value), code)
		}
	}
	if _, code := ask(t, f, "us-west-1", "PutParameter", door.Params{"Name": "s", "Value": "x", "Type": "SecureString"}); code != "ValidationException" {
		t.Errorf("a secret is taken: %q", code)
	}
	out, _ := ask(t, f, "us-west-1", "GetParameters", door.Params{"Names": []any{"/roam/switch", "/roam/memory"}})
	found := out["Parameters"].([]any)[0].(map[string]any)
	if found["Value"] != "off" || found["Version"] != 2.0 || found["ARN"] != "arn:aws:ssm:us-west-1:123456789012:parameter/roam/switch" || out["InvalidParameters"].([]any)[0] != "/roam/memory" {
		t.Errorf("GetParameters = %v", out)
	}
	if _, code := ask(t, f, "us-west-2", "GetParameter", door.Params{"Name": "/roam/switch"}); code != "ParameterNotFound" {
		t.Errorf("in another Region: %q", code)
	}
	if _, code := ask(t, f, "us-west-1", "GetParameters", door.Params{"Names": []any{}}); code != "ValidationException" {
		t.Errorf("no names: %q", code)
	}
	if _, code := ask(t, f, "us-west-1", "DeleteParameter", door.Params{"Name": "/roam/switch"}); code != "" {
		t.Error(code)
	}
	if _, code := ask(t, f, "us-west-1", "GetParameter", door.Params{"Name": "/roam/switch"}); code != "ParameterNotFound" {
		t.Errorf("after it was deleted: %q", code)
	}
}

// A Region has so many, and what is there can still be changed then.
func TestBound(t *testing.T) {
	f := New(Config{Clock: clock.NewManual(time.Unix(0, 0)), Regions: []string{"us-west-1"}})
	for i := range mostParameters + 1 {
		_, code := ask(t, f, "us-west-1", "PutParameter", door.Params{"Name": strings.Repeat("a", i+1)[:min(i+1, 1000)] + strings.Repeat("b", max(0, i-999)), "Value": "x", "Type": "String"})
		if full := i >= mostParameters; full != (code == "ParameterLimitExceeded") {
			t.Fatalf("number %d: %q", i+1, code)
		}
	}
	if _, code := ask(t, f, "us-west-1", "PutParameter", door.Params{"Name": "a", "Value": "y", "Overwrite": true}); code != "" {
		t.Error(code)
	}
}

// A policy names parameters.
func TestAsks(t *testing.T) {
	f := New(Config{Account: "1"})
	got := f.asks(&door.Call{Region: "us-west-2", Params: door.Params{"Names": []any{"/a", "b"}}})
	if len(got) != 2 || got[0].Resource != "arn:aws:ssm:us-west-2:1:parameter/a" || got[1].Resource != "arn:aws:ssm:us-west-2:1:parameter/b" {
		t.Errorf("asks = %+v", got)
	}
}
