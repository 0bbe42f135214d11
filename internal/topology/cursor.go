package topology

import (
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/roam-sessions/roam/internal/yamlfile"
)

// A cursor is a place in the file. Its methods report what is wrong there and
// return zero then, so that whoever reads goes on and finds the next fault. What is
// no matter of a deployment is as package yamlfile reads it.
type cursor struct {
	p    *parser
	node *yaml.Node // nil: nothing is there
	near *yaml.Node // what it should be in; nil: the file
	path string
}

func (c cursor) any() yamlfile.Cursor {
	return yamlfile.Cursor{File: c.p, Node: c.node, Near: c.near, Path: c.path}
}

func (p *parser) at(c yamlfile.Cursor) cursor {
	return cursor{p: p, node: c.Node, near: c.Near, path: c.Path}
}

func (c cursor) there() bool { return c.node != nil }

// fault reports what is wrong here, and how it is mended.
func (c cursor) fault(mend, format string, args ...any) { c.any().Fault(mend, format, args...) }

// null reports whether the key is there with no value behind it.
func (c cursor) null() bool { return c.any().Null() }

// fields returns what a mapping has: see yamlfile.Cursor.Fields.
func (c cursor) fields(may ...string) map[string]cursor {
	out := map[string]cursor{}
	for key, at := range c.any().Fields(may...) {
		out[key] = c.p.at(at)
	}
	return out
}

// items returns what a sequence has, at most so many.
func (c cursor) items(most int) (out []cursor) {
	for _, at := range c.any().Items(most) {
		out = append(out, c.p.at(at))
	}
	return out
}

// text returns a word; empty if there is none.
func (c cursor) text() string { return c.any().Text() }

// want is text that must be there.
func (c cursor) want(mend string) string { return c.any().Want(mend) }

// oneOf is a word of a few.
func (c cursor) oneOf(words ...string) string { return c.any().OneOf(words...) }

// yes is true or false.
func (c cursor) yes() bool { return c.any().Yes() }

// number is a whole number within bounds; zero if there is none.
func (c cursor) number(least, most int) int { return c.any().Number(least, most) }

// real is a number that may have a fraction; zero if there is none.
func (c cursor) real() float64 { return c.any().Real() }

// member is a name of a few that the file gives, such as its Regions.
func (c cursor) member(kind string, names []string) string { return c.any().Member(kind, names) }

// duration is a number with its unit, within bounds; zero if there is none.
func (c cursor) duration(least, most time.Duration) time.Duration {
	return c.any().Duration(least, most)
}

// size is a number of bytes with its unit, within bounds; zero if there is none.
func (c cursor) size(least, most int64) int64 { return c.any().Size(least, most) }

func join(path, key string) string { return yamlfile.Join(path, key) }

// last returns the key that a path ends with.
func last(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

// printable returns a word for a message: short, and with nothing that a
// terminal would obey.
func printable(s string) string { return yamlfile.Printable(s) }

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
