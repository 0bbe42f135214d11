package house

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/printer"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// apiHead stands above the list in api.txt.
const apiHead = `# What the public packages promise: every exported name with its signature.
# Rewrite it with: go test ./internal/house -update
# A changed line is a promise made or broken: say so in CHANGELOG.md.
`

// meant is what to do about a changed line.
const meant = "; if it is meant, run go test ./internal/house -update and tell it in CHANGELOG.md"

// checkAPI is rule 37.
func checkAPI(r *repo) []finding {
	var out []finding
	promised, actual := lines(r.text(home+"/api.txt")), r.api()
	for _, line := range minus(actual, promised) {
		out = append(out, finding{line, home + "/api.txt", "new" + meant})
	}
	for _, line := range minus(promised, actual) {
		out = append(out, finding{line, home + "/api.txt", "gone" + meant})
	}
	if !slices.Contains(lines(strings.ReplaceAll(r.text("CHANGELOG.md"), "#", "")), "[Unreleased]") {
		out = append(out, finding{"CHANGELOG.md", "CHANGELOG.md", "it needs a section ## [Unreleased]"})
	}
	return sorted(out)
}

// writeAPI brings api.txt up to date.
func writeAPI(r *repo) error {
	text := apiHead
	if api := r.api(); len(api) > 0 {
		text += "\n" + strings.Join(api, "\n") + "\n"
	}
	return os.WriteFile(filepath.Join(r.root, filepath.FromSlash(home), "api.txt"), []byte(text), 0o644)
}

// api lists what is exported by the packages that others can import.
func (r *repo) api() []string {
	var all []string
	for _, room := range slices.Sorted(maps.Keys(r.rooms)) {
		if strings.HasPrefix(room, "internal/") || strings.Contains(room, "/internal/") {
			continue
		}
		for _, f := range r.rooms[room] {
			if f.test || f.pkg == "main" {
				continue
			}
			for _, d := range f.ast.Decls {
				for _, line := range exported(d) {
					all = append(all, room+": "+line)
				}
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// exported prints what a declaration promises, one line a name.
func exported(d ast.Decl) []string {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if !d.Name.IsExported() || d.Recv != nil && !ast.IsExported(receiver(d)) {
			return nil
		}
		return []string{oneLine(&ast.FuncDecl{Recv: d.Recv, Name: d.Name, Type: d.Type})}
	case *ast.GenDecl:
		var all []string
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() {
					all = append(all, exportedType(s)...)
				}
			case *ast.ValueSpec:
				all = append(all, exportedValues(d.Tok, s)...)
			}
		}
		return all
	}
	return nil
}

// exportedValues prints constants and variables; a constant's value is part of
// the promise.
func exportedValues(tok token.Token, s *ast.ValueSpec) []string {
	var all []string
	for i, name := range s.Names {
		if !name.IsExported() {
			continue
		}
		line := tok.String() + " " + name.Name
		if s.Type != nil {
			line += " " + oneLine(s.Type)
		}
		if i < len(s.Values) && tok == token.CONST {
			line += " = " + oneLine(s.Values[i])
		}
		all = append(all, line)
	}
	return all
}

// exportedType prints a type, and each exported field or method of it.
func exportedType(s *ast.TypeSpec) []string {
	head := "type " + s.Name.Name
	if s.TypeParams != nil {
		params := oneLine(&ast.FuncType{Params: s.TypeParams})
		head += "[" + strings.TrimSuffix(strings.TrimPrefix(params, "func("), ")") + "]"
	}
	if s.Assign.IsValid() {
		head += " ="
	}
	switch t := s.Type.(type) {
	case *ast.StructType:
		return append([]string{head + " struct"}, members(head+" struct", t.Fields)...)
	case *ast.InterfaceType:
		return append([]string{head + " interface"}, members(head+" interface", t.Methods)...)
	}
	return []string{head + " " + oneLine(s.Type)}
}

// members prints the exported fields or methods of a type.
func members(head string, list *ast.FieldList) []string {
	var all []string
	for _, m := range list.List {
		kind := oneLine(m.Type)
		if fn, ok := m.Type.(*ast.FuncType); ok && strings.HasSuffix(head, "interface") {
			kind = strings.TrimPrefix(oneLine(fn), "func")
			for _, name := range m.Names {
				all = append(all, fmt.Sprintf("%s, %s%s", head, name.Name, kind))
			}
			continue
		}
		for _, name := range m.Names {
			if name.IsExported() {
				all = append(all, fmt.Sprintf("%s, %s %s", head, name.Name, kind))
			}
		}
		if len(m.Names) == 0 {
			all = append(all, fmt.Sprintf("%s, embeds %s", head, kind))
		}
	}
	return all
}

// oneLine prints a node without positions, so that its own line breaks are gone.
func oneLine(n ast.Node) string {
	var b bytes.Buffer
	if err := printer.Fprint(&b, token.NewFileSet(), n); err != nil {
		return err.Error()
	}
	return strings.Join(strings.Fields(b.String()), " ")
}
