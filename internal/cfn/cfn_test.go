package cfn

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// schemas returns the slice of AWS's schemas that scripts/install-test-deps.sh makes. Where there is none, and this is
// not CI, the test is not run and says so.
func schemas(tb testing.TB) *Spec {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "bin", "cfnspec", "spec.json"))
	if err != nil {
		if os.Getenv("CI") == "true" {
			tb.Fatalf("no schemas, and this is CI: scripts/install-test-deps.sh makes them: %v", err)
		}
		tb.Skipf("NOT RUN against AWS's schemas; scripts/install-test-deps.sh makes them, with Node: %v", err)
	}
	s, err := ParseSpec(text)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// notArc is where routing controls are offered, for the broken template that has one elsewhere.
func notArc(kind, region string) bool {
	return !strings.HasPrefix(kind, "AWS::Route53RecoveryControl::") || region == "us-west-2"
}

var wanted = regexp.MustCompile(`want ([a-z-]+)(?: "([^"]*)")?`)

// Each broken template is rejected for the reasons that are written in it, in the lines where they are written, and
// for no others. What begins with spec- takes schemas.
func TestBroken(t *testing.T) {
	files, err := filepath.Glob("testdata/broken/*.yaml")
	if err != nil || len(files) < 25 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var spec *Spec
			w := World{}
			if strings.HasPrefix(name, "spec-") {
				spec = schemas(t)
				w = World{Regions: []string{"us-west-2", "us-west-1"}, Offered: notArc}
			}
			compare(t, string(raw), faultsOf(t, raw, spec, w))
		})
	}
}

// faultsOf reads and checks.
func faultsOf(t *testing.T, raw []byte, spec *Spec, w World) Faults {
	t.Helper()
	read, err := Read(raw)
	if err == nil {
		return read.Check(spec, w)
	}
	var faults Faults
	if !errors.As(err, &faults) {
		t.Fatalf("Read = %v, want Faults", err)
	}
	return faults
}

// compare wants each fault that a text speaks of, and no other.
func compare(t *testing.T, text string, faults Faults) {
	t.Helper()
	left := slices.Clone(faults)
	n := 0
	for i, line := range strings.Split(text, "\n") {
		for _, m := range wanted.FindAllStringSubmatch(line, -1) {
			n++
			at := slices.IndexFunc(left, func(f Fault) bool {
				return f.Line == i+1 && f.Rule == m[1] && strings.Contains(f.Path+" "+f.What, m[2])
			})
			if at < 0 {
				t.Errorf("line %d: no %s %q among\n%v", i+1, m[1], m[2], faults)
				continue
			}
			left = slices.Delete(left, at, at+1)
		}
	}
	if n == 0 {
		t.Error("the template says nothing of what is wrong")
	}
	for _, f := range left {
		t.Errorf("not expected: %v", f)
	}
}

// Rules that nothing breaks hold nothing: each one that there is, is named in a broken template.
func TestEveryRuleIsBroken(t *testing.T) {
	spoken := map[string]bool{}
	files, _ := filepath.Glob("testdata/broken/*.yaml")
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range wanted.FindAllStringSubmatch(string(raw), -1) {
			spoken[m[1]] = true
		}
	}
	rule := regexp.MustCompile(`\.add\([^"]*?, "([a-z-]+)",`)
	sources, _ := filepath.Glob("*.go")
	for _, file := range sources {
		if strings.HasSuffix(file, "_test.go") || file == "render.go" {
			continue
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range rule.FindAllStringSubmatch(string(raw), -1) {
			if !spoken[m[1]] && !slices.Contains([]string{"syntax", "size", "too-deep"}, m[1]) {
				t.Errorf("%s: no broken template breaks the rule %s", file, m[1])
			}
		}
	}
}

// What is no template at all is refused with its line.
func TestUnreadable(t *testing.T) {
	for what, c := range map[string]struct {
		text, rule string
		line       int
	}{
		"nothing":         {"", "syntax", 0},
		"no YAML":         {"Resources:\n  a: [", "syntax", 2},
		"a list":          {"- a", "syntax", 1},
		"two documents":   {"Resources: {A: {Type: B}}\n---\nx: y", "syntax", 2},
		"no resources":    {"Description: x", "section", 1},
		"too large":       {strings.Repeat("# comment\n", 6000), "size", 0},
		"too deep":        {"Metadata: " + strings.Repeat("[", 100) + strings.Repeat("]", 100), "too-deep", 1},
		"another version": {"AWSTemplateFormatVersion: \"2020-01-01\"\nResources: {A: {Type: B}}", "section", 1},
	} {
		_, err := Read([]byte(c.text))
		var faults Faults
		if !errors.As(err, &faults) || !slices.ContainsFunc(faults, func(f Fault) bool { return f.Rule == c.rule && (f.Line == c.line || c.rule == "syntax") }) {
			t.Errorf("%s: Read = %v, want %s in line %d", what, err, c.rule, c.line)
		}
	}
}

// However much is wrong, what is told of it has a bound.
func TestFaultsAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("Resources:\n  Queue: {Type: AWS::SQS::Queue}\nOutputs:\n")
	for i := range 2 * mostFaults {
		fmt.Fprintf(&b, "  O%d: {Value: !Ref Nobody%d}\n", i, i)
	}
	read, err := Read([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(read.Check(nil, World{})); n != mostFaults {
		t.Errorf("%d faults, want %d", n, mostFaults)
	}
}

func FuzzRead(f *testing.F) {
	for _, folder := range []string{"testdata/broken/*.yaml", "../../deploy/aws/*.yaml"} {
		files, _ := filepath.Glob(folder)
		for _, file := range files {
			raw, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(raw)
		}
	}
	spec := &Spec{Types: map[string]Type{"AWS::SQS::Queue": {
		Attributes: map[string]Shape{"Arn": {Is: "string"}},
		Properties: map[string]Property{"QueueName": {Shape: Shape{Is: "string"}}, "Tags": {Shape: Shape{Is: "array", Of: &Shape{Is: "tag"}}}},
	}}}
	f.Fuzz(func(t *testing.T, raw []byte) {
		read, err := Read(raw)
		if err != nil {
			return
		}
		for _, f := range read.Check(spec, World{}) {
			if f.Line < 0 || f.Rule == "" {
				t.Errorf("%+v", f)
			}
		}
		parameters := map[string]string{}
		for _, p := range read.Parameters() {
			if !p.HasDefault {
				parameters[p.Name] = "1"
			}
		}
		if got, err := read.Render(Stack{Region: "us-west-2", Parameters: parameters}); err == nil {
			Changes(got, got, spec)
		}
	})
}

func FuzzParseSpec(f *testing.F) {
	f.Add([]byte(`{"version":"1","types":{"A::B::C":{"properties":{"D":{"is":"ref","ref":"1"}}}},"definitions":{"1":{"properties":{}}}}`))
	f.Add([]byte(`{"version":"1","types":{"A::B::C":{"properties":{"D":{"is":"array","of":{"is":"union","any":[{"is":"map"}]}}}}}}`))
	template, err := Read([]byte("Resources: {Q: {Type: \"A::B::C\", Properties: {D: [{a: b}]}}}"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(_ *testing.T, raw []byte) {
		if s, err := ParseSpec(raw); err == nil {
			_ = template.Check(s, World{}) // whatever is wrong, nothing breaks
		}
	})
}

// A slice that is none, or lacks a part of itself, is refused.
func TestSpec(t *testing.T) {
	for text, want := range map[string]string{
		"{":  "unexpected end",
		"{}": "0 types",
		`{"version":"1","types":{"A":{"properties":{"B":{"is":"ref","ref":"9"}}}}}`: "no definition 9",
		`{"version":"1","types":{"A":{"properties":{"B":{"is":"array"}}}}}`:         "of what",
	} {
		if _, err := ParseSpec([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseSpec(%s) = %v, want %q", text, err, want)
		}
	}
}
