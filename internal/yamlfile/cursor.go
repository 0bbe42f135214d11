package yamlfile

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

// An Adder gathers faults. A File is one.
type Adder interface {
	// Add adds a fault, or leaves it if there are enough.
	Add(fault Fault)
}

// A Cursor is a place in the file. Its methods report what is wrong there and
// return zero then, so that whoever reads goes on and finds the next fault.
type Cursor struct {
	File Adder      // is told of faults
	Node *yaml.Node // nil: nothing is there
	Near *yaml.Node // what it should be in; nil: the file
	Path string     // such as regions[1].id
}

// There reports whether something is there.
func (c Cursor) There() bool { return c.Node != nil }

// Fault reports what is wrong here, and how it is mended.
func (c Cursor) Fault(mend, format string, args ...any) {
	f := Fault{Path: c.Path, What: fmt.Sprintf(format, args...), Mend: mend}
	for _, n := range []*yaml.Node{c.Near, c.Node} {
		if n != nil {
			f.Line, f.Column = n.Line, n.Column
		}
	}
	c.File.Add(f)
}

// Null reports whether the key is there with no value behind it.
func (c Cursor) Null() bool { return c.Node.Kind == yaml.ScalarNode && c.Node.Tag == "!!null" }

// Fields returns what a mapping has. Keys that are not among those that may be
// are faults, and so are keys that are there twice.
func (c Cursor) Fields(may ...string) map[string]Cursor {
	out := map[string]Cursor{}
	for _, key := range may { // so that what is not there has its path all the same
		out[key] = Cursor{File: c.File, Near: c.Node, Path: Join(c.Path, key)}
	}
	if !c.There() || c.Null() {
		return out
	}
	if c.Node.Kind != yaml.MappingNode {
		c.Fault("write keys here: "+strings.Join(may, ", "), "is no mapping")
		return out
	}
	for i := 0; i+1 < len(c.Node.Content); i += 2 {
		key, value := c.Node.Content[i], c.Node.Content[i+1]
		at := Cursor{File: c.File, Node: key, Path: Join(c.Path, Printable(key.Value))}
		switch {
		case slices.Contains(secrets(), key.Value):
			at.Fault("put it in a file or a variable, and name that with "+placesOf(may),
				"a secret stands in the file, where all Regions and all who read it see it")
		case !slices.Contains(may, key.Value):
			mend := "take it away; there may be " + strings.Join(may, ", ")
			if word := Nearest(key.Value, may); word != "" {
				mend = fmt.Sprintf("did you mean %q?", word)
			}
			at.Fault(mend, "unknown key")
		case out[key.Value].There():
			at.Fault("keep one of them", "is there twice: before, in line %d", out[key.Value].Node.Line)
		default:
			out[key.Value] = Cursor{File: c.File, Node: value, Path: at.Path}
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

// Join returns the path of a key below another.
func Join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// Printable returns a word for a message: short, and with nothing that a
// terminal would obey.
func Printable(s string) string {
	const longest = 60
	q := strconv.QuoteToASCII(s)
	q = q[1 : len(q)-1]
	if len(q) > longest {
		q = q[:longest] + "..."
	}
	return q
}

// Items returns what a sequence has, at most so many.
func (c Cursor) Items(most int) []Cursor {
	if !c.There() {
		return nil
	}
	if c.Node.Kind != yaml.SequenceNode {
		c.Fault("write a list, each item behind a dash", "is no list")
		return nil
	}
	if n := len(c.Node.Content); n > most {
		c.Fault("take some away", "has %d items, and at most %d may be", n, most)
	}
	var out []Cursor
	for i, n := range c.Node.Content[:min(most, len(c.Node.Content))] {
		out = append(out, Cursor{File: c.File, Node: n, Path: fmt.Sprintf("%s[%d]", c.Path, i)})
	}
	return out
}

// Text returns a word; empty if there is none.
func (c Cursor) Text() string {
	switch {
	case !c.There():
		return ""
	case c.Node.Kind != yaml.ScalarNode || c.Null() || c.Node.Value == "":
		c.Fault("write one word behind the colon, or take the key away", "has no value")
	case len(c.Node.Value) > maxText:
		c.Fault("make it shorter", "is %d bytes long, and at most %d may be", len(c.Node.Value), maxText)
	case strings.ContainsFunc(c.Node.Value, func(r rune) bool { return r < ' ' || r == 0x7f }):
		c.Fault("write it on one line, without control characters", "has a control character")
	default:
		return c.Node.Value
	}
	return ""
}

// Want is text that must be there.
func (c Cursor) Want(mend string) string {
	if !c.There() {
		c.Fault(mend, "is missing")
		return ""
	}
	return c.Text()
}

// OneOf is a word of a few.
func (c Cursor) OneOf(words ...string) string {
	s := c.Text()
	if s == "" || slices.Contains(words, s) {
		return s
	}
	mend := "want " + strings.Join(words, " or ")
	if w := Nearest(s, words); w != "" {
		mend = fmt.Sprintf("did you mean %q?", w)
	}
	c.Fault(mend, "%q is none that there is", Printable(s))
	return ""
}

// Yes is true or false.
func (c Cursor) Yes() bool {
	switch s := c.Text(); s {
	case "true":
		return true
	case "", "false":
	default:
		c.Fault("write true or false", "%q is neither", Printable(s))
	}
	return false
}

// Number is a whole number within bounds; zero if there is none.
func (c Cursor) Number(least, most int) int {
	s := c.Text()
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < least || n > most {
		c.Fault(fmt.Sprintf("want a whole number from %d to %d", least, most), "%q is not", Printable(s))
		return 0
	}
	return n
}

// Real is a number that may have a fraction; zero if there is none.
func (c Cursor) Real() float64 {
	s := c.Text()
	if s == "" {
		return 0
	}
	x, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
		c.Fault("write a number, such as 250 or 0.05", "%q is none", Printable(s))
		return 0
	}
	return x
}

// Member is a name of a few that the file gives, such as its Regions.
func (c Cursor) Member(kind string, names []string) string {
	s := c.Text()
	if s == "" || slices.Contains(names, s) {
		return s
	}
	mend := "want one of " + strings.Join(names, ", ")
	switch w := Nearest(s, names); {
	case w != "":
		mend = fmt.Sprintf("did you mean %q?", Printable(w))
	case len(names) == 0:
		mend = "there are none yet"
	}
	c.Fault(mend, "%q is none of the %s", Printable(s), kind)
	return ""
}

// Duration is a number with its unit, within bounds; zero if there is none.
func (c Cursor) Duration(least, most time.Duration) time.Duration {
	s := c.Text()
	if s == "" {
		return 0
	}
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		c.Fault("write a number and ms, s, m or h, such as 500ms", "%q is no duration", Printable(s))
	case d < least || d > most:
		c.Fault(fmt.Sprintf("want %v to %v", least, most), "%v is out of bounds", d)
	default:
		return d
	}
	return 0
}

// Size is a number of bytes with its unit, within bounds; zero if there is none.
func (c Cursor) Size(least, most int64) int64 {
	s := c.Text()
	if s == "" {
		return 0
	}
	n, ok := bytesOf(s)
	switch {
	case !ok:
		c.Fault("write a whole number and KiB, MiB or GiB, such as 256MiB", "%q is no size", Printable(s))
	case n < least || n > most:
		c.Fault(fmt.Sprintf("want %d to %d bytes", least, most), "%q is out of bounds", Printable(s))
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

// Line returns the line of what is there, or of what it should be in; 0: the whole file.
func (c Cursor) Line() int {
	switch {
	case c.Node != nil:
		return c.Node.Line
	case c.Near != nil:
		return c.Near.Line
	}
	return 0
}

// Column is Line's column.
func (c Cursor) Column() int {
	switch {
	case c.Node != nil:
		return c.Node.Column
	case c.Near != nil:
		return c.Near.Column
	}
	return 0
}

// Within reports whether a path is another, or below it.
func Within(path, other string) bool {
	rest, ok := strings.CutPrefix(path, other)
	return ok && (rest == "" || other == "" || rest[0] == '.' || rest[0] == '[')
}
