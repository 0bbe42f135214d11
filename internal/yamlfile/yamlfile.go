package yamlfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFileBytes is far above what people write, with long comments.
const maxFileBytes = 1 << 20

// A File is one that is being read. It gathers faults, and is used by one goroutine at a time.
type File struct{ faults Faults }

// Add adds a fault. Beyond MaxFaults nothing is added.
func (f *File) Add(fault Fault) {
	if len(f.faults) < MaxFaults {
		f.faults = append(f.faults, fault)
	}
}

// Faults returns all that is wrong so far, in the order in which it was found.
func (f *File) Faults() Faults { return f.faults }

// Err returns all that is wrong so far, from top to bottom, as Faults; nil if nothing is.
func (f *File) Err() error {
	if len(f.faults) == 0 {
		return nil
	}
	return f.faults.Sorted()
}

// Parse returns the top of the one document of a file. If there is none to look at, nothing is
// there, and the File's error says why: what is no YAML, aliases and anchors, a second document, no
// document at all, or more than 1 MiB. Hint says where an example is.
func Parse(text []byte, hint string) (*File, Cursor) {
	f := &File{}
	return f, Cursor{File: f, Node: f.root(text, hint)}
}

// lineOf finds the line in what the YAML parser says.
var lineOf = regexp.MustCompile(`^yaml: line (\d+): `)

// root returns the one document of a file; nil if there is none to look at.
func (f *File) root(text []byte, hint string) *yaml.Node {
	if len(text) > maxFileBytes {
		f.Add(Fault{What: fmt.Sprintf("the file has %d bytes", len(text)), Mend: fmt.Sprintf("at most %d may be", maxFileBytes)})
		return nil
	}
	in := yaml.NewDecoder(bytes.NewReader(text))
	var doc, next yaml.Node
	err := in.Decode(&doc)
	if errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0 {
		f.Add(Fault{What: "the file is empty", Mend: hint})
		return nil
	}
	if err == nil {
		if err = in.Decode(&next); errors.Is(err, io.EOF) {
			f.aliases(&doc)
			if len(f.faults) > 0 {
				return nil
			}
			return doc.Content[0]
		}
		if err == nil {
			f.Add(Fault{Line: next.Line, Column: next.Column, What: "a second document begins", Mend: "one file describes one deployment"})
			return nil
		}
	}
	f.syntax(err)
	return nil
}

// syntax reports what is no YAML. The parser's message holds no values but those
// of broken tags.
func (f *File) syntax(err error) {
	what, line := err.Error(), 0
	if m := lineOf.FindStringSubmatch(what); m != nil {
		line, _ = strconv.Atoi(m[1]) // it matched digits
		what = what[len(m[0]):]
	}
	fault := Fault{Line: line, What: "this is no YAML: " + Printable(what), Mend: "look at this line and the one above: indent with spaces, quote what has colons"}
	if line > 0 {
		fault.Column = 1
	}
	f.Add(fault)
}

// aliases refuses what lets a short file say much, or a place say what stands
// elsewhere.
func (f *File) aliases(n *yaml.Node) {
	const mend = "write out what it stands for"
	if n.Kind == yaml.AliasNode {
		f.Add(Fault{Line: n.Line, Column: n.Column, What: "aliases are not allowed", Mend: mend})
		return // what it stands for is looked at where it is
	}
	if n.Anchor != "" {
		f.Add(Fault{Line: n.Line, Column: n.Column, What: "anchors are not allowed", Mend: mend})
	}
	for _, c := range n.Content {
		f.aliases(c)
	}
}

// At returns the place of a path, such as regions[1].cidr, or of as much of its beginning as is there. C is where
// paths begin.
func (c Cursor) At(path string) Cursor {
	at := c
	for path != "" && at.There() {
		step := path
		if i := strings.IndexAny(path[1:], ".["); i >= 0 {
			step = path[:i+1]
		}
		path = strings.TrimPrefix(path[len(step):], ".")
		next := at.child(step)
		if next == nil {
			break
		}
		name := at.Path + step
		if step[0] != '[' {
			name = Join(at.Path, step)
		}
		at = Cursor{File: c.File, Node: next, Near: at.Node, Path: name}
	}
	return at
}

// child returns what stands behind a key, or at a place of a list: [1].
func (c Cursor) child(step string) *yaml.Node {
	if index, ok := strings.CutPrefix(step, "["); ok {
		n, err := strconv.Atoi(strings.TrimSuffix(index, "]"))
		if err != nil || c.Node.Kind != yaml.SequenceNode || n < 0 || n >= len(c.Node.Content) {
			return nil
		}
		return c.Node.Content[n]
	}
	if c.Node.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(c.Node.Content); i += 2 {
		if c.Node.Content[i].Value == step {
			return c.Node.Content[i+1]
		}
	}
	return nil
}
