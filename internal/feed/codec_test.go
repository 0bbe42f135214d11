package feed

import (
	"bytes"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
)

// full has something in each field.
func full() View {
	return View{
		Deployment: "shop", Index: 12, Epoch: 3, Primary: "eu-west-1", Next: "us-east-1", NextEpoch: 4,
		Away: []string{"ap-south-1", "eu-west-1"}, Version: 2, File: "version: 1\n# <b> & \"é\"\n",
	}
}

func line(t testing.TB, v View) []byte {
	t.Helper()
	b, err := v.Encode()
	if err != nil {
		t.Fatalf("Encode(%+v) = %v, want nil", v, err)
	}
	return b
}

// What was written once is read for ever.
func TestVectors(t *testing.T) {
	text, err := os.ReadFile("testdata/view.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	if got := line(t, full()); !bytes.Equal(got, text) {
		t.Errorf("Encode = %s, want %s", got, text)
	}
	if l, err := ParseLine(text); err != nil || !reflect.DeepEqual(l, Line{View: full()}) {
		t.Errorf("ParseLine = %+v, %v, want %+v", l, err, full())
	}
	kept, err := os.ReadFile("testdata/kept")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := full().EncodeFile(); err != nil || !bytes.Equal(got, kept) {
		t.Errorf("EncodeFile = %s, %v, want %s", got, err, kept)
	}
	if v, err := ParseFile(kept); err != nil || !reflect.DeepEqual(v, full()) {
		t.Errorf("ParseFile = %+v, %v, want %+v", v, err, full())
	}
	if l, err := ParseLine(beatLine(7)); err != nil || !reflect.DeepEqual(l, Line{Beat: 7}) || string(beatLine(7)) != `{"v":1,"beat":7}`+"\n" {
		t.Errorf("ParseLine of %s = %+v, %v, want beat 7", beatLine(7), l, err)
	}
}

func TestParseLineRefuses(t *testing.T) {
	for _, text := range []string{
		``, `null`, `[]`, `7`, `{`, `{"v":1`, `{"v":1}`, `{"v":1,"deployment":""}`,
		`{"v":2,"deployment":"a"}`, `{"deployment":"a"}`, `{"v":1,"deployment":"a","more":1}`, `{"v":1,"Deployment":"a"}`,
		`{"v":1,"v":1,"deployment":"a"}`, `{"v":1,"deployment":"a"} {}`, `{"v":1,"deployment":"a"}x`, `{"v":1,"deployment":1}`,
		`{"v":1,"deployment":"a","index":-1}`, `{"v":1,"deployment":"a","index":1.5}`, `{"v":1,"deployment":"a","index":18446744073709551616}`,
		`{"v":1,"deployment":"a","file":"` + "\xff" + `","version":1}`,
		`{"v":1,"beat":0}`, `{"v":1,"beat":1,"index":1}`, `{"v":2,"beat":1}`, `{"beat":1}`,
		`{"v":1,"deployment":"a","file":"` + strings.Repeat("x", MaxBytes) + `","version":1}`,
	} {
		if l, err := ParseLine([]byte(text)); !errors.Is(err, ErrView) {
			t.Errorf("ParseLine(%.80s) = %+v, %v, want ErrView", text, l, err)
		}
	}
	for _, text := range []string{`{"v":1,"deployment":"a"}`, ` {"index":18446744073709551615,"v":1,"deployment":"a-1"} ` + "\n"} {
		if _, err := ParseLine([]byte(text)); err != nil {
			t.Errorf("ParseLine(%s) = %v, want nil", text, err)
		}
	}
}

func TestCheck(t *testing.T) {
	for what, change := range map[string]func(*View){
		"no deployment":              func(v *View) { v.Deployment = "" },
		"a capital letter":           func(v *View) { v.Deployment = "Shop" },
		"a dash at the end":          func(v *View) { v.Primary = "eu-" },
		"a name of 64":               func(v *View) { v.Next = strings.Repeat("x", 64) },
		"an epoch of nobody":         func(v *View) { v.Primary = "" },
		"an epoch above all":         func(v *View) { v.Epoch, v.NextEpoch = 1<<48, 1<<48+1 },
		"next without an epoch":      func(v *View) { v.NextEpoch = 0 },
		"an epoch without next":      func(v *View) { v.Next = "" },
		"next under the same epoch":  func(v *View) { v.NextEpoch = 3 },
		"next is the primary":        func(v *View) { v.Next = v.Primary },
		"next without a lease":       func(v *View) { v.Epoch = 0 },
		"away twice":                 func(v *View) { v.Away = []string{"a", "a"} },
		"away is no name":            func(v *View) { v.Away = []string{""} },
		"more away than Regions":     func(v *View) { v.Away = strings.Split("a b c d e f g h i j k l m n o p", " ") },
		"a file without its version": func(v *View) { v.Version = 0 },
		"a file above all":           func(v *View) { v.File = strings.Repeat("x", MaxBytes+1) },
	} {
		v := full()
		change(&v)
		if err := v.Check(); !errors.Is(err, ErrView) {
			t.Errorf("%s: Check = %v, want ErrView", what, err)
		}
		if _, err := v.Encode(); !errors.Is(err, ErrView) {
			t.Errorf("%s: Encode = %v, want ErrView", what, err)
		}
	}
	for _, v := range []View{
		full(),
		{Deployment: "a"},
		{Deployment: "a", Primary: "b"},         // a primary without a lease
		{Deployment: "a", Index: 4, Version: 3}, // as before
		{Deployment: strings.Repeat("x", maxName)},
		{Deployment: "a", Epoch: maxEpoch - 1, Primary: "b", Next: "c", NextEpoch: maxEpoch},
	} {
		if err := v.Check(); err != nil {
			t.Errorf("Check(%+v) = %v, want nil", v, err)
		}
	}
	// What fits unescaped may not as a line.
	long := View{Deployment: "a", Version: 1, File: strings.Repeat("\n", MaxBytes/2)}
	if _, err := long.Encode(); long.Check() != nil || !errors.Is(err, ErrView) {
		t.Errorf("Encode of a file of %d line ends = %v, want ErrView", len(long.File), err)
	}
	if _, err := (View{Deployment: "a", Version: 1, File: "\xff"}).Encode(); !errors.Is(err, ErrView) {
		t.Errorf("Encode of a file that is no UTF-8 = %v, want ErrView", err)
	}
}

func TestNewer(t *testing.T) {
	order := []View{{}, {Index: 1}, {Index: 9}, {Epoch: 1}, {Epoch: 1, Index: 1}, {Epoch: 2, Index: 1}, {Epoch: 2, Index: 8}}
	for i, a := range order {
		for j, b := range order {
			if a.Newer(b) != (i > j) {
				t.Errorf("%+v.Newer(%+v) = %v", a, b, a.Newer(b))
			}
		}
	}
}

// A file that was cut short or changed anywhere is not believed.
func TestParseFileRefuses(t *testing.T) {
	kept, err := full().EncodeFile()
	if err != nil {
		t.Fatal(err)
	}
	for i := range kept {
		if v, err := ParseFile(kept[:i]); !errors.Is(err, ErrView) {
			t.Fatalf("ParseFile of %d bytes of %d = %+v, %v, want ErrView", i, len(kept), v, err)
		}
		changed := bytes.Clone(kept)
		changed[i] ^= 1
		if v, err := ParseFile(changed); !errors.Is(err, ErrView) {
			t.Fatalf("ParseFile with byte %d changed = %+v, %v, want ErrView", i, v, err)
		}
	}
	beat := append([]byte(fileMagic+sum(beatLine(1))), beatLine(1)...)
	if v, err := ParseFile(beat); !errors.Is(err, ErrView) {
		t.Errorf("ParseFile of a beat = %+v, %v, want ErrView", v, err)
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add(line(f, full()))
	f.Add(beatLine(3))
	f.Add([]byte(`{"v":1,"deployment":"a","away":null,"index":1e3}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := ParseLine(text)
		if err != nil {
			if !errors.Is(err, ErrView) {
				t.Fatalf("ParseLine = %v, want ErrView", err)
			}
			return
		}
		if l.Beat != 0 {
			if again, err := ParseLine(beatLine(l.Beat)); err != nil || again.Beat != l.Beat {
				t.Fatalf("beat %d came back as %+v, %v", l.Beat, again, err)
			}
			return
		}
		b, err := l.View.Encode()
		if err != nil {
			return // it fits only as it was written: with other escapes
		}
		if again, err := ParseLine(b); err != nil || !equal(again.View, l.View) {
			t.Fatalf("%+v came back as %+v, %v", l.View, again.View, err)
		}
	})
}

// equal is reflect.DeepEqual to which no list and an empty one are the same.
func equal(a, b View) bool {
	if len(a.Away) == 0 && len(b.Away) == 0 {
		a.Away, b.Away = nil, nil
	}
	return reflect.DeepEqual(a, b)
}

func FuzzParseFile(f *testing.F) {
	kept, _ := full().EncodeFile()
	f.Add(kept)
	f.Add([]byte(fileMagic))
	f.Fuzz(func(t *testing.T, file []byte) {
		v, err := ParseFile(file)
		if err != nil && !errors.Is(err, ErrView) {
			t.Fatalf("ParseFile = %v, want ErrView", err)
		}
		// With its checksum mended, what is behind it is looked at.
		if head := len(fileMagic) + 9; err != nil && len(file) > head {
			v, err = ParseFile(append([]byte(fileMagic+sum(file[head:])), file[head:]...))
		}
		if err == nil && v.Check() != nil {
			t.Fatalf("ParseFile = %+v, which is none: %v", v, v.Check())
		}
	})
}
