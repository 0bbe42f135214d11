package house

import (
	"fmt"
	"go/ast"
	"strings"
)

// checkComments is rule 25, for packages inside and outside internal alike.
func checkComments(r *repo) []finding {
	var out []finding
	for _, f := range r.files {
		if f.test || f.pkg == "main" || ast.IsGenerated(f.ast) {
			continue
		}
		report := func(n ast.Node, name, do string) {
			out = append(out, finding{f.room + "." + name, r.at(n), do})
		}
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				public := d.Name.IsExported() && (d.Recv == nil || ast.IsExported(receiver(d)))
				if public && !tells(d.Doc, d.Name.Name) {
					report(d, funcName(d), begin(d.Name.Name))
				}
			case *ast.GenDecl:
				checkGroup(d, report)
			}
		}
	}
	return sorted(out)
}

// checkGroup looks at a declaration of types, constants or variables.
func checkGroup(d *ast.GenDecl, report func(n ast.Node, name, do string)) {
	grouped := d.Lparen.IsValid()
	for _, spec := range d.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			if !s.Name.IsExported() {
				continue
			}
			if !tells(s.Doc, s.Name.Name) && (grouped || !tells(d.Doc, s.Name.Name)) {
				report(s, s.Name.Name, begin(s.Name.Name))
			}
			checkMembers(s, report)
		case *ast.ValueSpec:
			if !grouped {
				s = &ast.ValueSpec{Doc: d.Doc, Names: s.Names, Comment: s.Comment}
			} else if d.Doc.Text() != "" {
				continue // one comment for all
			}
			checkValue(s, report)
		}
	}
}

// checkValue looks at constants or variables; a comment at the end of the line
// will do.
func checkValue(s *ast.ValueSpec, report func(n ast.Node, name, do string)) {
	for _, name := range s.Names {
		if name.IsExported() && !tells(s.Doc, name.Name) && s.Comment.Text() == "" {
			report(name, name.Name, begin(name.Name))
		}
	}
}

// checkMembers wants a comment, in any words, on each method of an interface and
// on each field of a configuration.
func checkMembers(s *ast.TypeSpec, report func(n ast.Node, name, do string)) {
	var members *ast.FieldList
	switch t := s.Type.(type) {
	case *ast.InterfaceType:
		members = t.Methods
	case *ast.StructType:
		if strings.HasSuffix(s.Name.Name, "Config") {
			members = t.Fields
		}
	}
	if members == nil {
		return
	}
	for _, m := range members.List {
		for _, name := range m.Names {
			if name.IsExported() && m.Doc.Text() == "" && m.Comment.Text() == "" {
				full := s.Name.Name + "." + name.Name
				report(m, full, fmt.Sprintf("say what %s promises: for a field its default, unit and range", full))
			}
		}
	}
}

// tells whether a comment begins with the name, or with a, an or the and the name.
func tells(c *ast.CommentGroup, name string) bool {
	words := strings.Fields(c.Text())
	if len(words) > 1 && (words[0] == "A" || words[0] == "An" || words[0] == "The") {
		words = words[1:]
	}
	if len(words) == 0 {
		return false
	}
	first := strings.TrimSuffix(strings.TrimRight(words[0], ",.:;"), "'s")
	first, _, _ = strings.Cut(first, "[") // Value[T] is Value
	return first == name
}

// begin is what to do about a missing comment.
func begin(name string) string {
	return fmt.Sprintf("give it a comment that begins with %q and says what it promises", name)
}
