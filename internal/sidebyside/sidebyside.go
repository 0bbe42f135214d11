package sidebyside

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// Measured is what a benchmark found: of each round, what ours did and what the
// baseline did, both in the unit of the row.
type Measured struct {
	Row  string    `json:"row"`
	Ours []float64 `json:"ours"`
	Base []float64 `json:"base"`
	// Note says what else one should know, such as how busy the machine was.
	Note string `json:"note,omitempty"`
}

// A Figure is what became of a row.
type Figure struct {
	Name     string  `json:"name"`
	Value    float64 `json:"value"`    // the median of ours
	Unit     string  `json:"unit"`     // of value and baseline
	Baseline float64 `json:"baseline"` // the median of the baseline
	Ratio    float64 `json:"ratio"`    // the median of the rounds' ratios
	Low      float64 `json:"low"`      // a quarter of the rounds' ratios is lower
	High     float64 `json:"high"`     // a quarter is higher
	Rounds   int     `json:"rounds"`
	Target   float64 `json:"target"`
	Most     bool    `json:"most"` // Ratio should be Target at most; else at least
	OK       bool    `json:"ok"`
	Note     string  `json:"note,omitempty"`
}

// Why there is no figure.
var (
	// ErrRow: nothing is measured under that name.
	ErrRow = errors.New("no such row")
	// ErrRounds: the rounds are none, not as many on both sides, or no positive numbers.
	ErrRounds = errors.New("rounds can't be compared")
	// ErrSyntax: the bytes are not what Decode or DecodeMeasured reads.
	ErrSyntax = errors.New("malformed figures")
)

// Judge makes a figure of what was measured. It fails with ErrRow or ErrRounds.
func Judge(m Measured) (Figure, error) {
	k, ok := kindOf(m.Row)
	if !ok {
		return Figure{}, fmt.Errorf("%w: %q", ErrRow, m.Row)
	}
	if len(m.Ours) == 0 || len(m.Ours) != len(m.Base) {
		return Figure{}, fmt.Errorf("%w: %s: %d rounds of ours, %d of the baseline", ErrRounds, m.Row, len(m.Ours), len(m.Base))
	}
	ratios := make([]float64, len(m.Ours))
	for i := range ratios {
		ratios[i] = m.Ours[i] / m.Base[i]
		if !positive(m.Ours[i]) || !positive(m.Base[i]) || !positive(ratios[i]) {
			return Figure{}, fmt.Errorf("%w: %s: round %d is %v to %v", ErrRounds, m.Row, i+1, m.Ours[i], m.Base[i])
		}
	}
	f := Figure{
		Name: m.Row, Unit: k.Unit, Target: k.Target, Most: k.Most, Note: m.Note, Rounds: len(ratios),
		Value: Quantile(m.Ours, 0.5), Baseline: Quantile(m.Base, 0.5),
		Ratio: Quantile(ratios, 0.5), Low: Quantile(ratios, 0.25), High: Quantile(ratios, 0.75),
	}
	f.OK = f.Ratio >= f.Target
	if f.Most {
		f.OK = f.Ratio <= f.Target
	}
	return f, nil
}

func positive(x float64) bool { return x > 0 && !math.IsInf(x, 0) }

func kindOf(row string) (Kind, bool) {
	for _, g := range Groups() {
		for _, k := range g.Kinds {
			if slices.Contains(k.Rows(), row) {
				return k, true
			}
		}
	}
	return Kind{}, false
}

// Quantile returns the smallest value that a share q of the values, 0 to 1, doesn't
// exceed; the median of an even number of them is the mean of the middle two. It returns
// NaN for no values.
func Quantile(values []float64, q float64) float64 {
	n := len(values)
	if n == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(values))
	if q == 0.5 && n%2 == 0 {
		return s[n/2-1]/2 + s[n/2]/2 // the sum may be too large
	}
	return s[min(n-1, max(0, int(math.Ceil(q*float64(n)))-1))]
}

// Order sorts figures as the table has them, leaves of each name the last, and returns
// the names of those that are missing.
func Order(figures []Figure) (sorted []Figure, missing []string) {
	last := map[string]Figure{}
	for _, f := range figures {
		last[f.Name] = f
	}
	for _, name := range Rows() {
		if f, ok := last[name]; ok {
			sorted = append(sorted, f)
		} else {
			missing = append(missing, name)
		}
	}
	return sorted, missing
}

// DecodeMeasured reads what benchmarks wrote, one JSON object a line. It fails with
// ErrSyntax.
func DecodeMeasured(b []byte) ([]Measured, error) {
	var out []Measured
	n := 0
	for line := range bytes.Lines(b) {
		n++
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var m Measured
		if err := strict(line, &m); err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrSyntax, n, err)
		}
		out = append(out, m)
	}
	return out, nil
}

// A Machine is where figures were measured.
type Machine struct {
	Cores    int    `json:"cores"`
	OS       string `json:"os"`
	Go       string `json:"go"`
	Server   string `json:"server"` // such as "Valkey 8.0.1"
	Sessions int    `json:"sessions"`
	Date     string `json:"date"` // of the run
}

// Decode reads a list of figures. It fails with ErrSyntax.
func Decode(b []byte) ([]Figure, error) {
	var out []Figure
	if err := strict(b, &out); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	return out, nil
}

// DecodeMachine reads a Machine. It fails with ErrSyntax.
func DecodeMachine(b []byte) (Machine, error) {
	var m Machine
	if err := strict(b, &m); err != nil {
		return Machine{}, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	return m, nil
}

// strict reads one JSON value of known fields, and nothing behind it.
func strict(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something stands behind it")
	}
	return nil
}
