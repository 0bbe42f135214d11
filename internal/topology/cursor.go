package topology

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// maxText bounds one word of the file: paths and names are shorter.
const maxText = 1024

// A cursor is a place in the file. Its methods report what is wrong there and
// return zero then, so that whoever reads goes on and finds the next fault.
type cursor struct {
	p    *parser
	node *yaml.Node // nil: nothing is there
	near *yaml.Node // what it should be in; nil: the file
	path string
}

func (c cursor) there() bool { return c.node != nil }

// fault reports what is wrong here, and how it is mended.
func (c cursor) fault(mend, format string, args ...any) {
	f := Fault{Path: c.path, What: fmt.Sprintf(format, args...), Mend: mend}
	for _, n := range []*yaml.Node{c.near, c.node} {
		if n != nil {
			f.Line, f.Column = n.Line, n.Column
		}
	}
	c.p.add(f)
}

// null reports whether the key is there with no value behind it.
func (c cursor) null() bool { return c.node.Kind == yaml.ScalarNode && c.node.Tag == "!!null" }

// fields returns what a mapping has. Keys that are not among those that may be
// are faults, and so are keys that are there twice.
func (c cursor) fields(may ...string) map[string]cursor {
	out := map[string]cursor{}
	for _, key := range may { // so that what is not there has its path all the same
		out[key] = cursor{p: c.p, near: c.node, path: join(c.path, key)}
	}
	if !c.there() || c.null() {
		return out
	}
	if c.node.Kind != yaml.MappingNode {
		c.fault("write keys here: "+strings.Join(may, ", "), "is no mapping")
		return out
	}
	for i := 0; i+1 < len(c.node.Content); i += 2 {
		key, value := c.node.Content[i], c.node.Content[i+1]
		at := cursor{p: c.p, node: key, path: join(c.path, printable(key.Value))}
		switch {
		case slices.Contains(secrets(), key.Value):
			at.fault("put it in a file or a variable, and name that with "+placesOf(may),
				"a secret stands in the file, where all Regions and all who read it see it")
		case !slices.Contains(may, key.Value):
			mend := "take it away; there may be " + strings.Join(may, ", ")
			if word := nearest(key.Value, may); word != "" {
				mend = fmt.Sprintf("did you mean %q?", word)
			}
			at.fault(mend, "unknown key")
		case out[key.Value].there():
			at.fault("keep one of them", "is there twice: before, in line %d", out[key.Value].node.Line)
		default:
			out[key.Value] = cursor{p: c.p, node: value, path: at.path}
		}
	}
	return out
}

// secrets are keys that people write secrets behind.
func secrets() []string { return []string{"password", "passwd", "pass", "secret", "token", "auth"} }

// placesOf returns those keys of a mapping that say where a secret is.
func placesOf(may []string) string {
	var out []string
	for _, key := range may {
		if strings.HasSuffix(key, "_file") || strings.HasSuffix(key, "_env") {
			out = append(out, key)
		}
	}
	if len(out) == 0 {
		return "password_file or password_env"
	}
	return strings.Join(out, " or ")
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// last returns the key that a path ends with.
func last(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

// printable returns a word for a message: short, and with nothing that a
// terminal would obey.
func printable(s string) string {
	const longest = 60
	q := strconv.QuoteToASCII(s)
	q = q[1 : len(q)-1]
	if len(q) > longest {
		q = q[:longest] + "..."
	}
	return q
}

// items returns what a sequence has, at most so many.
func (c cursor) items(most int) []cursor {
	if !c.there() {
		return nil
	}
	if c.node.Kind != yaml.SequenceNode {
		c.fault("write a list, each item behind a dash", "is no list")
		return nil
	}
	if n := len(c.node.Content); n > most {
		c.fault("take some away", "has %d items, and at most %d may be", n, most)
	}
	var out []cursor
	for i, n := range c.node.Content[:min(most, len(c.node.Content))] {
		out = append(out, cursor{p: c.p, node: n, path: fmt.Sprintf("%s[%d]", c.path, i)})
	}
	return out
}

// text returns a word; empty if there is none.
func (c cursor) text() string {
	switch {
	case !c.there():
		return ""
	case c.node.Kind != yaml.ScalarNode || c.null() || c.node.Value == "":
		c.fault("write one word behind the colon, or take the key away", "has no value")
	case len(c.node.Value) > maxText:
		c.fault("make it shorter", "is %d bytes long, and at most %d may be", len(c.node.Value), maxText)
	case strings.ContainsFunc(c.node.Value, func(r rune) bool { return r < ' ' || r == 0x7f }):
		c.fault("write it on one line, without control characters", "has a control character")
	default:
		return c.node.Value
	}
	return ""
}

// want is text that must be there.
func (c cursor) want(mend string) string {
	if !c.there() {
		c.fault(mend, "is missing")
		return ""
	}
	return c.text()
}

// oneOf is a word of a few.
func (c cursor) oneOf(words ...string) string {
	s := c.text()
	if s == "" || slices.Contains(words, s) {
		return s
	}
	mend := "want " + strings.Join(words, " or ")
	if w := nearest(s, words); w != "" {
		mend = fmt.Sprintf("did you mean %q?", w)
	}
	c.fault(mend, "%q is none that there is", printable(s))
	return ""
}

// yes is true or false.
func (c cursor) yes() bool {
	switch s := c.text(); s {
	case "true":
		return true
	case "", "false":
	default:
		c.fault("write true or false", "%q is neither", printable(s))
	}
	return false
}

// number is a whole number within bounds; zero if there is none.
func (c cursor) number(least, most int) int {
	s := c.text()
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < least || n > most {
		c.fault(fmt.Sprintf("want a whole number from %d to %d", least, most), "%q is not", printable(s))
		return 0
	}
	return n
}

// real is a number that may have a fraction; zero if there is none.
func (c cursor) real() float64 {
	s := c.text()
	if s == "" {
		return 0
	}
	x, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
		c.fault("write a number, such as 250 or 0.05", "%q is none", printable(s))
		return 0
	}
	return x
}

// member is a name of a few that the file gives, such as its Regions.
func (c cursor) member(kind string, names []string) string {
	s := c.text()
	if s == "" || slices.Contains(names, s) {
		return s
	}
	mend := "want one of " + strings.Join(names, ", ")
	switch w := nearest(s, names); {
	case w != "":
		mend = fmt.Sprintf("did you mean %q?", printable(w))
	case len(names) == 0:
		mend = "there are none yet"
	}
	c.fault(mend, "%q is none of the %s", printable(s), kind)
	return ""
}

// source is where a secret is kept: the key of a file or that of a variable, one of
// which must be there.
func source(file, env cursor) Source {
	s := Source{File: file.text(), Env: env.text()}
	switch {
	case file.there() && env.there():
		env.fault("keep one of them", "there are two places for it")
	case !file.there() && !env.there():
		file.fault("write this or "+last(env.path), "is missing")
	}
	return s
}

// duration is a number with its unit, within bounds; zero if there is none.
func (c cursor) duration(least, most time.Duration) time.Duration {
	s := c.text()
	if s == "" {
		return 0
	}
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		c.fault("write a number and ms, s, m or h, such as 500ms", "%q is no duration", printable(s))
	case d < least || d > most:
		c.fault(fmt.Sprintf("want %v to %v", least, most), "%v is out of bounds", d)
	default:
		return d
	}
	return 0
}

// size is a number of bytes with its unit, within bounds; zero if there is none.
func (c cursor) size(least, most int64) int64 {
	s := c.text()
	if s == "" {
		return 0
	}
	n, ok := bytesOf(s)
	switch {
	case !ok:
		c.fault("write a whole number and KiB, MiB or GiB, such as 256MiB", "%q is no size", printable(s))
	case n < least || n > most:
		c.fault(fmt.Sprintf("want %d to %d bytes", least, most), "%q is out of bounds", printable(s))
	default:
		return n
	}
	return 0
}

func bytesOf(s string) (int64, bool) {
	for unit, shift := range map[string]int{"KiB": 10, "MiB": 20, "GiB": 30} {
		digits, ok := strings.CutSuffix(s, unit)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64>>shift {
			return 0, false
		}
		return n << shift, true
	}
	return 0, false
}
