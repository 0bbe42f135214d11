package house

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/token"
)

// Bounds of rule 4: what a reader can hold in mind.
const (
	maxFileLines = 500
	maxFuncLines = 60
	maxBranches  = 15
)

// maxMethods bounds an exported interface, by rule 11.
const maxMethods = 4

// checkSize is rule 4.
func checkSize(r *repo) []finding {
	var out []finding
	for _, f := range r.files {
		if ast.IsGenerated(f.ast) {
			continue
		}
		if n := bytes.Count(f.src, []byte("\n")); n > maxFileLines {
			out = append(out, finding{f.path, f.path, fmt.Sprintf("%d lines, at most %d: cut it by job", n, maxFileLines)})
		}
		for name, fn := range functions(f) {
			n := r.fset.Position(fn.End()).Line - r.fset.Position(fn.Pos()).Line + 1
			if n > maxFuncLines {
				out = append(out, finding{f.path + " " + name, r.at(fn), fmt.Sprintf("%s has %d lines, at most %d: cut it by job", name, n, maxFuncLines)})
			}
			if n := branches(fn); n > maxBranches {
				out = append(out, finding{f.path + " " + name, r.at(fn), fmt.Sprintf("%s has %d branches, at most %d: cut it by job", name, n, maxBranches)})
			}
		}
	}
	return sorted(out)
}

// functions are a file's functions by name: the declared ones, and those that
// package variables hold.
func functions(f *file) map[string]ast.Node {
	all := map[string]ast.Node{}
	for _, d := range f.ast.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			d2 := *d
			d2.Doc = nil
			all[funcName(d)] = &d2
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if v, ok := spec.(*ast.ValueSpec); ok && d.Tok == token.VAR {
					ast.Inspect(v, func(n ast.Node) bool {
						lit, ok := n.(*ast.FuncLit)
						if ok {
							all["var "+v.Names[0].Name] = lit
						}
						return !ok
					})
				}
			}
		}
	}
	return all
}

// funcName is the name of a function, with its receiver's type before it.
func funcName(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return d.Name.Name
	}
	return receiver(d) + "." + d.Name.Name
}

// receiver is the name of the type that a method belongs to.
func receiver(d *ast.FuncDecl) string {
	name := ""
	ast.Inspect(d.Recv.List[0].Type, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && name == "" {
			name = id.Name
		}
		return name == ""
	})
	return name
}

// branches counts the ways through a function: if, for, range, case, && and ||.
func branches(fn ast.Node) int {
	n := 0
	ast.Inspect(fn, func(at ast.Node) bool {
		switch at := at.(type) {
		case *ast.IfStmt, *ast.ForStmt, *ast.RangeStmt:
			n++
		case *ast.CaseClause:
			if at.List != nil {
				n++
			}
		case *ast.CommClause:
			if at.Comm != nil {
				n++
			}
		case *ast.BinaryExpr:
			if at.Op == token.LAND || at.Op == token.LOR {
				n++
			}
		}
		return true
	})
	return n
}

// checkInterfaces is rule 11. A type constraint is no interface that somebody
// implements.
func checkInterfaces(r *repo) []finding {
	var out []finding
	for _, f := range r.files {
		if f.test {
			continue
		}
		for _, t := range typeSpecs(f) {
			it, ok := t.Type.(*ast.InterfaceType)
			if !ok || !t.Name.IsExported() {
				continue
			}
			if n := r.methods(f, it, 0); n > maxMethods {
				out = append(out, finding{f.room + "." + t.Name.Name, r.at(t), fmt.Sprintf(
					"%s has %d methods, at most %d: new power is a second interface", t.Name.Name, n, maxMethods)})
			}
		}
	}
	return sorted(out)
}

// typeSpecs are the types that a file declares.
func typeSpecs(f *file) []*ast.TypeSpec {
	var all []*ast.TypeSpec
	for _, d := range f.ast.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.TYPE {
			for _, spec := range g.Specs {
				all = append(all, spec.(*ast.TypeSpec))
			}
		}
	}
	return all
}

// methods counts an interface's methods with those of what it embeds. An
// interface that is not ours counts as one.
func (r *repo) methods(f *file, it *ast.InterfaceType, depth int) int {
	n := 0
	for _, m := range it.Methods.List {
		switch m.Type.(type) {
		case *ast.FuncType:
			n += len(m.Names)
		case *ast.Ident, *ast.SelectorExpr:
			if inner := r.interfaceOf(f, m.Type); inner != nil && depth < maxMethods {
				n += r.methods(f, inner, depth+1)
			} else {
				n++
			}
		}
	}
	return n
}

// interfaceOf finds the declaration of an interface of ours that f names.
func (r *repo) interfaceOf(f *file, e ast.Expr) *ast.InterfaceType {
	room, name := f.room, ""
	switch e := e.(type) {
	case *ast.Ident:
		name = e.Name
	case *ast.SelectorExpr:
		for _, spec := range f.ast.Imports {
			if id, ok := e.X.(*ast.Ident); ok && f.name(importOf(spec)) == id.Name {
				room = r.roomFor(importOf(spec))
			}
		}
		name = e.Sel.Name
	}
	for _, other := range r.rooms[room] {
		for _, t := range typeSpecs(other) {
			if it, ok := t.Type.(*ast.InterfaceType); ok && t.Name.Name == name {
				return it
			}
		}
	}
	return nil
}
