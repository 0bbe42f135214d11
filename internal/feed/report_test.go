package feed

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/internal/tally"
)

// fullReport has something in each field.
func fullReport() Report {
	east, west := tally.Writes{Failed: 2}, tally.Writes{}
	east.Took[0], east.Took[7], east.Took[tally.Buckets-1] = 5, 70, 1
	west.Took[3] = 9
	return Report{
		Deployment: "shop", Region: "eu-west-1", App: "0123456789abcdef", Seq: 7, After: 5, Span: 10020 * time.Millisecond,
		Counts: tally.Counts{Answers: [tally.Rungs]uint64{120, 4, 3, 2, 1}, Writes: map[string]tally.Writes{"us-east-1": east, "eu-west-1": west}},
	}
}

// What was written once is read for ever.
func TestReportVector(t *testing.T) {
	text, err := os.ReadFile("testdata/report.json")
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.TrimSpace(text)
	if got, err := fullReport().Encode(); err != nil || !bytes.Equal(got, text) {
		t.Errorf("Encode = %s, %v, want %s", got, err, text)
	}
	if r, err := ParseReport(text); err != nil || !reflect.DeepEqual(r, fullReport()) {
		t.Errorf("ParseReport = %+v, %v, want %+v", r, err, fullReport())
	}
}

// The largest one that there can be is within the bound.
func TestReportFits(t *testing.T) {
	r := fullReport()
	r.Deployment, r.Region, r.Seq, r.After, r.Span = strings.Repeat("x", maxName), strings.Repeat("y", maxName), 1<<64-1, 1<<64-2, maxSpan
	var w tally.Writes
	for i := range w.Took {
		w.Took[i], w.Failed = maxCount, maxCount
	}
	for i := range r.Counts.Answers {
		r.Counts.Answers[i] = maxCount
	}
	r.Counts.Writes = map[string]tally.Writes{}
	for i := range maxAway {
		r.Counts.Writes[fmt.Sprint(strings.Repeat("z", maxName-2), 10+i)] = w
	}
	text, err := r.Encode()
	if err != nil {
		t.Fatalf("Encode of the largest report = %v, want nil", err)
	}
	if got, err := ParseReport(text); err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("ParseReport = %+v, %v, want what was written", got, err)
	}
	if _, err := ParseReport(append(text, bytes.Repeat([]byte(" "), MaxReport)...)); !errors.Is(err, ErrReport) {
		t.Errorf("ParseReport of more than %d bytes = %v, want ErrReport", MaxReport, err)
	}
}

func TestParseReportRefuses(t *testing.T) {
	const good = `{"v":1,"deployment":"a","region":"b","app":"0123456789abcdef","seq":1,"span_ms":5000,"answers":{"normal":1},"writes":[{"to":"b","took":[1]}]}`
	if _, err := ParseReport([]byte(good)); err != nil {
		t.Fatalf("ParseReport(%s) = %v, want nil", good, err)
	}
	for _, c := range [][2]string{
		{good, ``},
		{good, `null`},
		{good, `[]`},
		{`"v":1`, `"v":2`},
		{`"v":1,`, ``},
		{`"v":1`, `"v":1,"v":1`},
		{`"v":1`, `"v":1,"more":1`},
		{`"seq"`, `"Seq"`},
		{`"took":[1]}]}`, `"took":[1]}]} {}`},
		{`"a"`, `"A"`},
		{`"a"`, "\"\xff\""},
		{`"b","app"`, `"","app"`},
		{`0123456789abcdef`, `0123456789abcdeF`},
		{`0123456789abcdef`, `0123456789abcde`},
		{`"seq":1`, `"seq":0`},
		{`"seq":1`, `"seq":1,"after":1`},
		{`"seq":1`, `"seq":-1`},
		{`5000`, `4294967297`},
		{`5000`, `18446744073709551615`},
		{`5000`, `1.5`},
		{`"answers":{"normal":1},`, ``},
		{`{"normal":1}`, `null`},
		{`{"normal":1}`, `{"great":1}`},
		{`{"normal":1}`, `{"stale":1,"stale":1}`},
		{`{"normal":1}`, `{"normal":1099511627777}`},
		{`"to":"b"`, `"to":"B"`},
		{`"to":"b"`, `"to":"b","To":"b"`},
		{`"to":"b"`, `"to":"b","failed":2`},
		{`[{"to":"b","took":[1]}]`, `{"b":[1]}`},
		{`[{"to":"b","took":[1]}]`, `[{"to":"b","took":[1]},{"to":"b","took":[1]}]`},
		{`[{"to":"b","took":[1]}]`, `[null]`},
		{`"took":[1]`, `"took":[1099511627777]`},
		{`"took":[1]`, `"took":[-1]`},
		{`"took":[1]`, `"took":[` + strings.Repeat("0,", tally.Buckets) + `1]`},
	} {
		text := strings.Replace(good, c[0], c[1], 1)
		if r, err := ParseReport([]byte(text)); text == good || !errors.Is(err, ErrReport) {
			t.Errorf("ParseReport(%.200s) = %+v, %v, want ErrReport", text, r, err)
		}
	}
	var many []string
	for i := range maxAway + 1 {
		many = append(many, fmt.Sprintf(`{"to":"r%d","took":[1]}`, i))
	}
	if _, err := ParseReport([]byte(strings.Replace(good, `{"to":"b","took":[1]}`, strings.Join(many, ","), 1))); !errors.Is(err, ErrReport) {
		t.Errorf("ParseReport of writes to 16 Regions = %v, want ErrReport", err)
	}
}

func TestReportThatIsNone(t *testing.T) {
	for what, change := range map[string]func(*Report){
		"no app":              func(r *Report) { r.App = "" },
		"a time to come":      func(r *Report) { r.Span = -1 },
		"too long ago":        func(r *Report) { r.Span = maxSpan + 1 },
		"after itself":        func(r *Report) { r.After = r.Seq },
		"more failed than is": func(r *Report) { r.Counts.Writes["us-east-1"] = tally.Writes{Failed: 1} },
	} {
		r := fullReport()
		change(&r)
		if b, err := r.Encode(); !errors.Is(err, ErrReport) {
			t.Errorf("%s: Encode = %s, %v, want ErrReport", what, b, err)
		}
	}
}

// What is read is written as what is read again, and is within all bounds.
func FuzzParseReport(f *testing.F) {
	text, err := os.ReadFile("testdata/report.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"v":1,"deployment":"a","region":"b","app":"0123456789abcdef","seq":1,"span_ms":0,"answers":{}}`))
	f.Add([]byte(`{"v":1,"deployment":"a","region":"b","app":"0123456789abcdef","seq":2,"after":1,"span_ms":1,"answers":{"sealed":3},"writes":[{"to":"a","took":[]},{"to":"b","failed":1,"took":[0,1]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := ParseReport(body)
		if err != nil {
			if !errors.Is(err, ErrReport) {
				t.Fatalf("ParseReport = %v, want ErrReport", err)
			}
			return
		}
		out, err := r.Encode()
		if err != nil {
			t.Fatalf("Encode of %+v = %v, want nil", r, err)
		}
		again, err := ParseReport(out)
		if err != nil || again.Seq != r.Seq || again.App != r.App || !reflect.DeepEqual(again.Counts.Answers, r.Counts.Answers) {
			t.Fatalf("ParseReport(%s) = %+v, %v, want %+v", out, again, err, r)
		}
		if back, err := again.Encode(); err != nil || !bytes.Equal(back, out) {
			t.Fatalf("Encode = %s, %v, want %s", back, err, out)
		}
	})
}
