package sidebyside

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name string
		m    Measured
		want Figure
	}{
		// A round in which the machine was busy, on both sides, changes nothing.
		{"median of ratios", Measured{Row: Read + ", 1 client", Ours: []float64{11, 900, 12}, Base: []float64{10, 1000, 10}}, Figure{
			Value: 12, Baseline: 10, Ratio: 1.1, Low: 0.9, High: 1.2, OK: true, // at most 1.10
		}},
		{"one more at most", Measured{Row: Read + ", 1 client", Ours: []float64{11.1}, Base: []float64{10}}, Figure{
			Value: 11.1, Baseline: 10, Ratio: 1.11, Low: 1.11, High: 1.11,
		}},
		{"at least", Measured{Row: ReadOfMany, Ours: []float64{90, 80}, Base: []float64{100, 80}}, Figure{
			Value: 85, Baseline: 90, Ratio: 0.95, Low: 0.9, High: 1, OK: true, // at least 0.90
		}},
		{"less", Measured{Row: ReadOfMany, Ours: []float64{89}, Base: []float64{100}}, Figure{
			Value: 89, Baseline: 100, Ratio: 0.89, Low: 0.89, High: 0.89,
		}},
	} {
		got, err := Judge(c.m)
		if err != nil {
			t.Errorf("%s: Judge = %v, want a figure", c.name, err)
			continue
		}
		for _, x := range []struct {
			what      string
			got, want float64
		}{
			{"value", got.Value, c.want.Value},
			{"baseline", got.Baseline, c.want.Baseline},
			{"ratio", got.Ratio, c.want.Ratio},
			{"low", got.Low, c.want.Low},
			{"high", got.High, c.want.High},
		} {
			if math.Abs(x.got-x.want) > 1e-9 {
				t.Errorf("%s: %s = %v, want %v", c.name, x.what, x.got, x.want)
			}
		}
		if got.OK != c.want.OK || got.Rounds != len(c.m.Ours) || got.Name != c.m.Row {
			t.Errorf("%s: %+v, want ok = %t, %d rounds", c.name, got, c.want.OK, len(c.m.Ours))
		}
	}
}

func TestJudgeRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		m    Measured
		want error
	}{
		{"unknown", Measured{Row: "speed", Ours: []float64{1}, Base: []float64{1}}, ErrRow},
		{"no rounds", Measured{Row: Memory}, ErrRounds},
		{"one side", Measured{Row: Memory, Ours: []float64{1, 2}, Base: []float64{1}}, ErrRounds},
		{"nothing was done", Measured{Row: Memory, Ours: []float64{1, 0}, Base: []float64{1, 1}}, ErrRounds},
		{"no baseline", Measured{Row: Memory, Ours: []float64{1}, Base: []float64{0}}, ErrRounds},
		{"less than nothing", Measured{Row: Memory, Ours: []float64{-1}, Base: []float64{-1}}, ErrRounds},
		{"no number", Measured{Row: Memory, Ours: []float64{math.NaN()}, Base: []float64{1}}, ErrRounds},
		{"beyond numbers", Measured{Row: Memory, Ours: []float64{math.MaxFloat64}, Base: []float64{0.5}}, ErrRounds},
	} {
		if got, err := Judge(c.m); !errors.Is(err, c.want) {
			t.Errorf("%s: Judge = %+v, %v, want %v", c.name, got, err, c.want)
		}
	}
}

func TestQuantile(t *testing.T) {
	for _, c := range []struct {
		values []float64
		q      float64
		want   float64
	}{
		{[]float64{3, 1, 2}, 0.5, 2},
		{[]float64{4, 1, 2, 3}, 0.5, 2.5},
		{[]float64{1, 2, 3, 4}, 0.25, 1},
		{[]float64{1, 2, 3, 4}, 0.75, 3},
		{[]float64{7}, 0.99, 7},
		{[]float64{2, 1}, 0, 1},
		{[]float64{1, 2}, 1, 2},
		{[]float64{math.MaxFloat64, math.MaxFloat64}, 0.5, math.MaxFloat64},
	} {
		before := slices.Clone(c.values)
		if got := Quantile(c.values, c.q); got != c.want {
			t.Errorf("Quantile(%v, %v) = %v, want %v", c.values, c.q, got, c.want)
		}
		if !slices.Equal(before, c.values) {
			t.Errorf("Quantile sorted its argument: %v, want %v", c.values, before)
		}
	}
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	if got := Quantile(hundred, 0.99); got != 99 {
		t.Errorf("the 99th percentile of 1 to 100 = %v, want 99", got)
	}
	if got := Quantile(nil, 0.5); !math.IsNaN(got) {
		t.Errorf("Quantile of nothing = %v, want NaN", got)
	}
}

// all returns a figure for each row, with a long value.
func all(t *testing.T) (out []Figure) {
	t.Helper()
	for i, row := range Rows() {
		f, err := Judge(Measured{Row: row, Ours: []float64{1234567 + float64(i)}, Base: []float64{1000000}})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, f)
	}
	return out
}

func TestOrderFindsWhatIsMissing(t *testing.T) {
	figures := all(t)
	slices.Reverse(figures)
	again := figures[0]
	again.Ratio = 7
	sorted, missing := Order(append(figures, again))
	if len(missing) > 0 || len(sorted) != len(Rows()) || sorted[len(sorted)-1].Ratio != 7 {
		t.Errorf("Order = %d figures, the last one %+v, missing %v; want each once, the one measured last", len(sorted), sorted[len(sorted)-1], missing)
	}
	for i, row := range Rows() {
		if sorted[i].Name != row {
			t.Errorf("figure %d is %s, want %s", i, sorted[i].Name, row)
		}
		rest := slices.Delete(slices.Clone(sorted), i, i+1)
		if _, missing := Order(rest); !slices.Equal(missing, []string{row}) {
			t.Errorf("without %s there is missing %v", row, missing)
		}
		if page := Page(rest, Machine{}); !strings.Contains(page, "Missing: "+row+".") {
			t.Errorf("without %s the page does not say so", row)
		}
	}
}

func TestRowsAreDistinct(t *testing.T) {
	rows := slices.Sorted(slices.Values(Rows()))
	if len(slices.Compact(slices.Clone(rows))) != len(rows) {
		t.Errorf("two rows have one name: %v", rows)
	}
	for _, r := range Rates() {
		median, p99 := DelayAt(r)
		if !slices.Contains(rows, median) || !slices.Contains(rows, p99) {
			t.Errorf("DelayAt(%d) = %q, %q: there are no such rows", r, median, p99)
		}
	}
}

// What is printed fits a terminal, and is a table where Markdown is shown.
func TestTable(t *testing.T) {
	const most = 120
	lines := strings.Split(strings.TrimSpace(Table(all(t))), "\n")
	if len(lines) != len(Rows())+2 {
		t.Errorf("the table has %d lines, want %d", len(lines), len(Rows())+2)
	}
	for _, line := range lines {
		if n := utf8.RuneCountInString(line); n > most || n != utf8.RuneCountInString(lines[0]) || strings.Count(line, "|") != 8 {
			t.Errorf("line of %d characters, want %d at most, as many as others, and 7 columns: %s", n, most, line)
		}
	}
	for _, c := range []struct {
		x    float64
		want string
	}{{0.1, "0.10"}, {9.994, "9.99"}, {12.34, "12.3"}, {100, "100"}, {999.6, "1,000"}, {12345, "12,345"}, {1234567.8, "1,234,568"}} {
		if got := number(c.x); got != c.want {
			t.Errorf("number(%v) = %s, want %s", c.x, got, c.want)
		}
	}
}

func TestPage(t *testing.T) {
	figures := all(t)
	figures[0].OK, figures[0].Note = false, "one core was busy"
	missed := 0
	for _, f := range figures {
		if !f.OK {
			missed++
		}
	}
	page := Page(figures, Machine{Cores: 2, OS: "linux/amd64", Go: "go1.26", Server: "Valkey 8.0.1", Sessions: 200_000, Date: "2026-11-25"})
	for _, want := range []string{
		"2 cores, linux/amd64, go1.26, Valkey 8.0.1", "run of 2026-11-25", figures[0].Name + ": one core was busy.", "200,000 sessions are many",
		group(float64(missed)) + " of " + group(float64(len(figures))) + " figures miss their target", "make bench-docs",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, f := range figures {
		if strings.Count(page, "| "+f.Name+" ") != 1 {
			t.Errorf("the page has %s %d times, want once", f.Name, strings.Count(page, "| "+f.Name+" "))
		}
	}
	if strings.Contains(page, "Missing") {
		t.Error("the page says that something is missing")
	}
}

// What is not known to be a figure is refused, not passed over.
func TestDecodeRefuses(t *testing.T) {
	good := `{"row":"put","ours":[1],"base":[2]}`
	if got, err := DecodeMeasured([]byte(good + "\n\n" + good)); err != nil || len(got) != 2 || got[1].Base[0] != 2 {
		t.Errorf("DecodeMeasured of two lines = %+v, %v", got, err)
	}
	for _, bad := range []string{`{"row":"put","speed":1}`, good + good, good + "]", good + " x", `{"row":`, `[]`, `{"ours":["1"]}`} {
		if got, err := DecodeMeasured([]byte(good + "\n" + bad)); !errors.Is(err, ErrSyntax) || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("DecodeMeasured(%s) = %+v, %v, want ErrSyntax of line 2", bad, got, err)
		}
	}
	for _, bad := range []string{`[{"speed":1}]`, `[] []`, `[]]`, `{}`, ``, `[`} {
		if got, err := Decode([]byte(bad)); !errors.Is(err, ErrSyntax) {
			t.Errorf("Decode(%s) = %+v, %v, want ErrSyntax", bad, got, err)
		}
	}
	for _, bad := range []string{`{"speed":1}`, `{}{}`, `[]`, `{"cores":"2"}`} {
		if got, err := DecodeMachine([]byte(bad)); !errors.Is(err, ErrSyntax) {
			t.Errorf("DecodeMachine(%s) = %+v, %v, want ErrSyntax", bad, got, err)
		}
	}
}

// What is written is read back as it was; whatever else is refused, and nothing panics.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"row":"memory of a session","ours":[1],"base":[2]}` + "\n\n" + `{"row":"put, 50 connections","ours":[1,2],"base":[2,1],"note":"x"}`,
		`[{"name":"memory of a session","value":1,"unit":"B","baseline":2,"ratio":0.5,"low":0.5,"high":0.5,"rounds":1,"target":1.35,"most":true,"ok":true}]`,
		`{"cores":2,"os":"linux","go":"go1.26","server":"Valkey 8","sessions":1,"date":"2026-11-25"}`, `{"row":1}`, `[`, `{} {}`, `[{"speed":1}]`, "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if measured, err := DecodeMeasured(b); err == nil {
			for _, m := range measured {
				if figure, err := Judge(m); err == nil && !(positive(figure.Ratio) && figure.Low <= figure.Ratio && figure.Ratio <= figure.High) {
					t.Errorf("Judge(%+v) = %+v", m, figure)
				}
			}
		} else if !errors.Is(err, ErrSyntax) {
			t.Errorf("DecodeMeasured(%q) = %v, want ErrSyntax", b, err)
		}
		if figures, err := Decode(b); err == nil {
			raw, err := json.Marshal(figures)
			again, err2 := Decode(raw)
			if err != nil || err2 != nil || !slices.Equal(again, figures) {
				t.Errorf("Decode(%q) = %+v, once more %+v, %v, %v", b, figures, again, err, err2)
			}
			_ = Page(figures, Machine{}) // must not panic
		} else if !errors.Is(err, ErrSyntax) {
			t.Errorf("Decode(%q) = %v, want ErrSyntax", b, err)
		}
		if _, err := DecodeMachine(b); err != nil && !errors.Is(err, ErrSyntax) {
			t.Errorf("DecodeMachine(%q) = %v, want ErrSyntax", b, err)
		}
	})
}
