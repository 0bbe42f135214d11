package door

import (
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"
)

const (
	// mostParams bounds how many parameters a request has: a PutMetricData of 1,000
	// metrics has some 10,000.
	mostParams = 20000
	// mostDepth bounds how deep parameters lie in each other.
	mostDepth = 16
)

// Params are what a request asks for: texts, numbers, truths, times, []any and Params within
// each other. In the query protocol all is text, so the methods take either.
type Params map[string]any

// ParseQuery reads a form in which a.member.1.b=c lies in lists and structures.
func ParseQuery(body string) (Params, error) {
	form, err := url.ParseQuery(body)
	if err != nil {
		return nil, fmt.Errorf("form: %w", err)
	}
	if len(form) > mostParams {
		return nil, fmt.Errorf("%d parameters, at most %d", len(form), mostParams)
	}
	root := Params{}
	for _, key := range slices.Sorted(func(yield func(string) bool) {
		for k := range form {
			if !yield(k) {
				return
			}
		}
	}) {
		if err := root.put(strings.Split(key, "."), form.Get(key)); err != nil {
			return nil, fmt.Errorf("parameter %.80q: %w", key, err)
		}
	}
	return root, nil
}

// put sets the value at a path of names.
func (p Params) put(path []string, value string) error {
	if len(path) > mostDepth {
		return fmt.Errorf("%d names deep, at most %d", len(path), mostDepth)
	}
	at := p
	for _, name := range path[:len(path)-1] {
		next, ok := at[name]
		if !ok {
			next = Params{}
			at[name] = next
		}
		if at, ok = next.(Params); !ok {
			return fmt.Errorf("%.40q is a value and a structure", name)
		}
	}
	last := path[len(path)-1]
	if _, ok := at[last]; ok {
		return fmt.Errorf("%.40q is a value and a structure", last)
	}
	at[last] = value
	return nil
}

// ParseJSON reads an object of JSON; nothing is an empty one.
func ParseJSON(body []byte) (Params, error) {
	if len(body) == 0 {
		return Params{}, nil
	}
	var in map[string]any
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	return asParams(in, 0)
}

// ParseCBOR reads an object of CBOR; nothing is an empty one.
func ParseCBOR(body []byte) (Params, error) {
	if len(body) == 0 {
		return Params{}, nil
	}
	mode, err := cbor.DecOptions{MaxNestedLevels: mostDepth, MaxArrayElements: mostParams, MaxMapPairs: mostParams, TimeTag: cbor.DecTagOptional}.DecMode()
	if err != nil {
		return nil, err
	}
	var in map[string]any
	if err := mode.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	return asParams(in, 0)
}

func asParams(in map[string]any, depth int) (Params, error) {
	out := Params{}
	for k, v := range in {
		v, err := asParam(v, depth+1)
		if err != nil {
			return nil, err
		}
		if v != nil {
			out[k] = v
		}
	}
	return out, nil
}

func asParam(v any, depth int) (any, error) {
	if depth > mostDepth {
		return nil, fmt.Errorf("more than %d deep", mostDepth)
	}
	switch v := v.(type) {
	case map[string]any:
		return asParams(v, depth)
	case map[any]any:
		named := map[string]any{}
		for k, v := range v {
			name, ok := k.(string)
			if !ok {
				return nil, fmt.Errorf("a name is a %T", k)
			}
			named[name] = v
		}
		return asParams(named, depth)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			var err error
			if out[i], err = asParam(v[i], depth+1); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return v, nil
}

// Has reports whether a parameter is there.
func (p Params) Has(name string) bool { _, ok := p[name]; return ok }

// Str returns a text, or what else is there as one; "" if nothing is.
func (p Params) Str(name string) string {
	switch v := p[name].(type) {
	case nil:
		return ""
	case string:
		return v
	default:
		return fmt.Sprint(v)
	}
}

// Float returns a number, if there is one that is finite.
func (p Params) Float(name string) (float64, bool) {
	switch v := p[name].(type) {
	case float64:
		return v, !math.IsNaN(v) && !math.IsInf(v, 0)
	case float32:
		return float64(v), !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0)
	case uint64:
		return float64(v), true
	case int64:
		return float64(v), true
	case string:
		f, err := strconv.ParseFloat(v, 64)
		return f, err == nil && !math.IsNaN(f) && !math.IsInf(f, 0)
	}
	return 0, false
}

// Int returns a whole number that an int holds, if there is one.
func (p Params) Int(name string) (int, bool) {
	f, ok := p.Float(name)
	if !ok || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int(f), true
}

// Truth returns a truth; false if there is none.
func (p Params) Truth(name string) bool {
	switch v := p[name].(type) {
	case bool:
		return v
	case string:
		return strings.EqualFold(v, "true")
	}
	return false
}

// Time returns a time, if there is one: of CBOR, seconds of the epoch or RFC 3339.
func (p Params) Time(name string) (time.Time, bool) {
	switch v := p[name].(type) {
	case time.Time:
		return v, true
	case string:
		if t, err := time.Parse(time.RFC3339Nano, v); err == nil {
			return t, true
		}
	}
	f, ok := p.Float(name)
	if !ok || math.Abs(f) > 1<<40 {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(f * 1000)), true
}

// List returns the elements of a list, whatever form it has: one of JSON, or name.1 or
// name.Element.1 of a query, whose numbers need not be dense.
func (p Params) List(name string) []any {
	switch v := p[name].(type) {
	case []any:
		return v
	case Params:
		if len(v) == 1 {
			for _, inner := range v {
				if in, ok := inner.(Params); ok && in.numbered() {
					v = in
				}
			}
		}
		if !v.numbered() {
			return nil
		}
		keys := make([]int, 0, len(v))
		for k := range v {
			n, _ := strconv.Atoi(k) // numbered says so
			keys = append(keys, n)
		}
		slices.Sort(keys)
		out := make([]any, len(keys))
		for i, n := range keys {
			out[i] = v[strconv.Itoa(n)]
		}
		return out
	}
	return nil
}

// numbered reports whether all names are numbers, written as numbers are.
func (p Params) numbered() bool {
	for k := range p {
		n, err := strconv.Atoi(k)
		if err != nil || n < 1 || strconv.Itoa(n) != k {
			return false
		}
	}
	return true
}

// Strs returns a list of texts.
func (p Params) Strs(name string) []string {
	var out []string
	for _, v := range p.List(name) {
		if s, ok := v.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// Objects returns a list of structures.
func (p Params) Objects(name string) []Params {
	var out []Params
	for _, v := range p.List(name) {
		if o, ok := v.(Params); ok {
			out = append(out, o)
		}
	}
	return out
}

// Object returns a structure; an empty one if there is none.
func (p Params) Object(name string) Params {
	o, _ := p[name].(Params)
	return o
}
