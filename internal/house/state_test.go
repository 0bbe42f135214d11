package house

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// checkGlobals is rule 15.
func checkGlobals(r *repo) []finding {
	var out []finding
	for _, f := range r.files {
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil && d.Name.Name == "init" {
					out = append(out, finding{f.path + " init", r.at(d), "no init: call a constructor from where the value is needed"})
				}
			case *ast.GenDecl:
				if d.Tok != token.VAR {
					continue
				}
				for _, spec := range d.Specs {
					v := spec.(*ast.ValueSpec)
					for i, name := range v.Names {
						if !f.steady(d, v, i) {
							out = append(out, finding{f.room + "." + name.Name, r.at(v), fmt.Sprintf(
								"package variable %s can change: make it a constant, a function that returns it, or a field", name.Name)})
						}
					}
				}
			}
		}
	}
	return sorted(out)
}

// steady tells whether a package variable is one of the kinds that nobody changes.
func (f *file) steady(d *ast.GenDecl, v *ast.ValueSpec, i int) bool {
	if v.Names[i].Name == "_" {
		return true // asserts that a type satisfies an interface
	}
	if len(v.Values) != len(v.Names) {
		return embedded(d, v) // declared empty, or by one call with two results
	}
	if sel, ok := v.Values[i].(*ast.SelectorExpr); ok {
		return sel.Sel.Name == v.Names[i].Name && strings.HasPrefix(sel.Sel.Name, "Err") // passes a sentinel on
	}
	call, ok := v.Values[i].(*ast.CallExpr)
	if !ok {
		return false
	}
	fun := call.Fun
	if ix, ok := fun.(*ast.IndexExpr); ok { // a call with a type argument
		fun = ix.X
	}
	keys := []string{"Value", "Counter", "Set"} // names of session fields
	if id, ok := fun.(*ast.Ident); ok {
		return f.room == rootRoom && slices.Contains(keys, id.Name)
	}
	flags := []string{"Bool", "String", "Int", "Int64", "Uint", "Uint64", "Duration", "Float64"}
	return f.names(fun, "errors", "New") || f.names(fun, "fmt", "Errorf") ||
		f.names(fun, "regexp", "MustCompile") ||
		f.names(fun, "time", "Date") || // a moment, which the language has no constants for
		f.names(fun, "sync", "OnceValue", "OnceValues", "OnceFunc") ||
		f.names(fun, modulePath, keys...) ||
		f.test && f.names(fun, "flag", flags...)
}

// modulePath is where session fields are declared, for those who import them.
const modulePath = "github.com/roam-sessions/roam"

// embedded tells whether the variable is filled by a go:embed line.
func embedded(d *ast.GenDecl, v *ast.ValueSpec) bool {
	for _, doc := range []*ast.CommentGroup{d.Doc, v.Doc} {
		if doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool {
			return strings.HasPrefix(c.Text, "//go:embed ")
		}) {
			return true
		}
	}
	return false
}

// checkPanics is rule 18.
func checkPanics(r *repo) []finding {
	var out []finding
	for _, f := range r.files {
		if f.test {
			continue
		}
		f.eachIn(func(fn string, n ast.Node) {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return
			}
			id, ok := call.Fun.(*ast.Ident)
			if !ok || id.Name != "panic" || strings.Contains(r.commentAbove(f, call), "invariant") {
				return
			}
			out = append(out, finding{
				f.path + " " + fn, r.at(call),
				"return an error; or, if only a bug of ours can lead here, say in a comment on the line above which invariant broke",
			})
		})
	}
	return sorted(out)
}

// commentAbove is the comment that ends on the line above a node, in lower case.
func (r *repo) commentAbove(f *file, n ast.Node) string {
	line := r.fset.Position(n.Pos()).Line
	for _, c := range f.ast.Comments {
		if r.fset.Position(c.End()).Line == line-1 {
			return strings.ToLower(c.Text())
		}
	}
	return ""
}

// eachIn visits every node of a file with the name of the declaration it is in.
func (f *file) eachIn(visit func(decl string, n ast.Node)) {
	for _, d := range f.ast.Decls {
		name := "declarations"
		if fn, ok := d.(*ast.FuncDecl); ok {
			name = funcName(fn)
		}
		ast.Inspect(d, func(n ast.Node) bool {
			if n != nil {
				visit(name, n)
			}
			return true
		})
	}
}

// checkContexts is rule 20.
func checkContexts(r *repo) []finding {
	var out []finding
	for _, f := range r.files {
		if f.name("context") == "" {
			continue
		}
		f.eachIn(func(fn string, n ast.Node) {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if !f.test && f.pkg != "main" && f.names(n, "context", "Background", "TODO") {
					out = append(out, finding{f.path + " " + fn, r.at(n), "take ctx from the caller; only main and tests begin one"})
				}
			case *ast.StructType:
				for _, field := range n.Fields.List {
					if f.names(field.Type, "context", "Context") {
						out = append(out, finding{f.path + " struct", r.at(field), "a context is passed, not kept: make it the first parameter"})
					}
				}
			}
		})
	}
	return sorted(out)
}
