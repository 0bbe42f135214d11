package house

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

// checkSleeps is rule 32. In a bubble of synctest sleeping is exact, and what
// runs real servers has to wait for them.
func checkSleeps(r *repo) []finding {
	var out []finding
	for _, f := range r.files {
		if f.name("testing") == "" || f.name("time") == "" || f.tagged("integration") || f.inBubble() {
			continue
		}
		f.eachIn(func(fn string, n ast.Node) {
			if sel, ok := n.(*ast.SelectorExpr); ok && f.names(sel, "time", "Sleep") {
				out = append(out, finding{f.path + " " + fn, r.at(n), "wait in synctest.Test, or for a channel; a sleep is either too short or too long"})
			}
		})
	}
	return sorted(out)
}

// inBubble tells whether the file's tests run under synctest.
func (f *file) inBubble() bool {
	found := false
	f.eachIn(func(_ string, n ast.Node) {
		if sel, ok := n.(*ast.SelectorExpr); ok && f.names(sel, "testing/synctest", "Test") {
			found = true
		}
	})
	return found
}

// checkFuzz is rule 35: by its name and its parameters, a parser.
func checkFuzz(r *repo) []finding {
	var out []finding
	for room, files := range r.rooms {
		fuzzed := fuzzedNames(files)
		for _, f := range files {
			if f.test {
				continue
			}
			for _, d := range f.ast.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if !ok || !parses(fn) || fuzzed[fn.Name.Name] {
					continue
				}
				out = append(out, finding{room + "." + funcName(fn), r.at(fn), fmt.Sprintf(
					"%s takes bytes from outside: call it in a Fuzz test of its package", funcName(fn))})
			}
		}
	}
	return sorted(out)
}

// parses tells whether a function is one that reads bytes from outside.
func parses(fn *ast.FuncDecl) bool {
	if !fn.Name.IsExported() || fn.Recv != nil && !ast.IsExported(receiver(fn)) {
		return false
	}
	prefixes := []string{"Decode", "Parse", "Unmarshal", "Open"}
	if !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(fn.Name.Name, p) }) {
		return false
	}
	return slices.ContainsFunc(fn.Type.Params.List, func(p *ast.Field) bool {
		t := p.Type
		if a, ok := t.(*ast.ArrayType); ok && a.Len == nil {
			id, ok := a.Elt.(*ast.Ident)
			return ok && id.Name == "byte"
		}
		id, ok := t.(*ast.Ident)
		return ok && id.Name == "string"
	})
}

// fuzzedNames are all the names that the Fuzz tests among the files mention.
func fuzzedNames(files []*file) map[string]bool {
	names := map[string]bool{}
	for _, f := range files {
		if !f.test {
			continue
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(fn.Name.Name, "Fuzz") || fn.Body == nil {
				continue
			}
			ast.Inspect(fn.Body, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok {
					names[id.Name] = true
				}
				return true
			})
		}
	}
	return names
}
