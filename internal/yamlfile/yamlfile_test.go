package yamlfile

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// read reads everything that a cursor can.
func read(c Cursor) string {
	f := c.Fields("word", "choice", "yes", "number", "real", "time", "size", "member", "list", "must")
	var list []string
	for _, at := range f["list"].Items(3) {
		list = append(list, at.Fields("name")["name"].Want("write name:"))
	}
	return fmt.Sprintln(f["word"].Text(), f["choice"].OneOf("red", "green"), f["yes"].Yes(), f["number"].Number(1, 9), f["real"].Real(),
		f["time"].Duration(time.Second, time.Minute), f["size"].Size(1, 1<<20), f["member"].Member("Regions", []string{"west", "east"}), list, f["must"].Want("write must:"))
}

const good = `
word: hello
choice: green
yes: true
number: 7
real: 0.5
time: 5s
size: 4KiB
member: east
list:
  - name: a
  - {name: b}
must: x
`

func TestCursor(t *testing.T) {
	in, top := Parse([]byte(good), "hint")
	if got, want := strings.TrimSpace(read(top)), "hello green true 7 0.5 5s 4096 east [a b] x"; got != want {
		t.Errorf("read = %q, want %q", got, want)
	}
	if err := in.Err(); err != nil {
		t.Errorf("Err = %v, want nil", err)
	}
}

func TestFaults(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "the file is empty; hint",
		"a: [":                           "1:1: this is no YAML: did not find expected node content; look at this line and the one above: indent with spaces, quote what has colons",
		"must: x\n---\nmust: y\n":        "2:1: a second document begins; one file describes one deployment",
		"must: &a x\nword: *a\n":         "1:7: anchors are not allowed; write out what it stands for\n2:7: aliases are not allowed; write out what it stands for",
		"must: x\nwrod: y\n":             `2:1: wrod: unknown key; did you mean "word"?`,
		"must: x\nmust: y\n":             "2:1: must: is there twice: before, in line 1; keep one of them",
		"word: x\n":                      "1:1: must: is missing; write must:",
		"must: x\nchoice: grren\n":       `2:9: choice: "grren" is none that there is; did you mean "green"?`,
		"must: x\nyes: maybe\n":          `2:6: yes: "maybe" is neither; write true or false`,
		"must: x\nnumber: 10\n":          `2:9: number: "10" is not; want a whole number from 1 to 9`,
		"must: x\nreal: NaN\n":           `2:7: real: "NaN" is none; write a number, such as 250 or 0.05`,
		"must: x\ntime: 5\n":             `2:7: time: "5" is no duration; write a number and ms, s, m or h, such as 500ms`,
		"must: x\ntime: 2m\n":            "2:7: time: 2m0s is out of bounds; want 1s to 1m0s",
		"must: x\nsize: 4\n":             `2:7: size: "4" is no size; write a whole number and KiB, MiB or GiB, such as 256MiB`,
		"must: x\nmember: weast\n":       `2:9: member: "weast" is none of the Regions; did you mean "west"?`,
		"must: x\nlist: a\n":             "2:7: list: is no list; write a list, each item behind a dash",
		"must: x\nlist: [{}, {name: b}]": "2:8: list[0].name: is missing; write name:",
		"must: x\npassword: hunter2\n":   "2:1: password: a secret stands in the file, where all Regions and all who read it see it; put it in a file or a variable, and name that with password_file or password_env",
	} {
		in, top := Parse([]byte(text), "hint")
		if top.There() {
			read(top)
		}
		err := in.Err()
		var faults Faults
		if !errors.As(err, &faults) || faults.Error() != want {
			t.Errorf("%q:\ngot  %v\nwant %s", text, err, want)
		}
	}
}

func TestBounds(t *testing.T) {
	in, top := Parse([]byte("must: x\n"+strings.Repeat("? [x]\n: y\n", 1)+"list: ["+strings.Repeat("{a: 1}, ", 1000)+"]\n"), "hint")
	read(top)
	for i := range 2 * MaxFaults {
		in.Add(Fault{Line: i})
	}
	if n := len(in.Faults()); n != MaxFaults {
		t.Errorf("%d faults, want %d", n, MaxFaults)
	}
	in, top = Parse([]byte("#"+strings.Repeat("x", maxFileBytes)), "hint")
	if top.There() || in.Err() == nil || !strings.Contains(in.Err().Error(), "at most 1048576 may be") {
		t.Errorf("a file above 1 MiB: %v", in.Err())
	}
}

func TestAt(t *testing.T) {
	_, top := Parse([]byte("regions:\n  - name: west\n    cidr: 10.0.0.0/8\n  - name: east\n"), "hint")
	for path, want := range map[string]string{
		"": "1 ", "regions": "2 regions", "regions[0].cidr": "3 regions[0].cidr", "regions[1].name": "4 regions[1].name",
		"regions[1].cidr": "4 regions[1]", "regions[7].cidr": "2 regions", "nothing": "1 ", "regions[x": "2 regions", "regions.name": "2 regions",
	} {
		if at := top.At(path); fmt.Sprint(at.Line(), " ", at.Path) != want {
			t.Errorf("At(%q) = line %d, %q; want %s", path, at.Line(), at.Path, want)
		}
	}
	for _, c := range []struct {
		path, other string
		want        bool
	}{{"a.b", "a", true}, {"a[0].b", "a", true}, {"ab", "a", false}, {"a", "a", true}, {"a", "a.b", false}, {"a", "", true}} {
		if got := Within(c.path, c.other); got != c.want {
			t.Errorf("Within(%q, %q) = %t", c.path, c.other, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(good, "regions[0].name")
	f.Add("a: &x [1, *x]\n", "a[0]")
	f.Add("list: [[[{", "")
	f.Fuzz(func(t *testing.T, text, path string) {
		in, top := Parse([]byte(text), "hint")
		if top.There() == (in.Err() != nil) {
			t.Errorf("Parse: there is something: %t, and the error is %v", top.There(), in.Err())
		}
		if !top.There() {
			return
		}
		read(top)
		if at := top.At(path); !at.There() || !strings.HasPrefix(path, strings.TrimSuffix(at.Path, ".")) {
			t.Errorf("At(%q) = %q", path, at.Path)
		}
		var faults Faults
		if err := in.Err(); errors.As(err, &faults) && (len(faults) > MaxFaults || strings.ContainsAny(faults.Error(), "\x1b\x00")) {
			t.Errorf("faults %q", faults)
		}
	})
}
