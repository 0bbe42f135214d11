package house

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

// soon marks a line of pure.txt whose room or file is still to come.
const soon = "soon"

// unclean are the packages that a pure room must not import; a name that ends in
// / stands for all below it.
func unclean() []string {
	return []string{"crypto/rand", "net", "net/http", "net/http/", "os", "os/", "sync", "sync/", "syscall"}
}

// clockAndDice are functions that bring the time or chance from outside; random
// sources that a caller seeds are welcome.
func clockAndDice() map[string][]string {
	dice := []string{
		"ExpFloat64", "Float32", "Float64", "Int", "Int31", "Int31n", "Int32", "Int32N", "Int63", "Int63n", "Int64",
		"Int64N", "IntN", "Intn", "N", "NormFloat64", "Perm", "Read", "Seed", "Shuffle", "Uint", "Uint32", "Uint32N",
		"Uint64", "Uint64N", "UintN",
	}
	return map[string][]string{
		"time":         {"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"},
		"math/rand":    dice,
		"math/rand/v2": dice,
	}
}

// checkPure is rule 21.
func checkPure(r *repo) []finding {
	var out []finding
	for _, line := range lines(r.text(home + "/pure.txt")) {
		name, mark, _ := strings.Cut(line, " ")
		files := slices.DeleteFunc(slices.Clone(r.files), func(f *file) bool {
			return f.test || f.path != name && f.room != name
		})
		switch {
		case len(files) == 0 && mark != soon:
			out = append(out, finding{name, home + "/pure.txt", fmt.Sprintf("there is no such room or file: mend the line, or write %q behind what is to come", soon)})
		case len(files) > 0 && mark == soon:
			out = append(out, finding{name, home + "/pure.txt", fmt.Sprintf("it has come: take the word %q from its line", soon)})
		}
		for _, f := range files {
			out = append(out, r.impure(f)...)
		}
	}
	return sorted(out)
}

// impure finds what a pure file must not have.
func (r *repo) impure(f *file) []finding {
	var out []finding
	report := func(n ast.Node, what string) {
		out = append(out, finding{f.path + " " + what, r.at(n), fmt.Sprintf("%s in a pure room: take it as an argument", what)})
	}
	for _, spec := range f.ast.Imports {
		p := importOf(spec)
		if covers(unclean(), p) || spec.Name != nil && spec.Name.Name == "." {
			report(spec, p)
		}
	}
	for importPath, members := range clockAndDice() {
		if f.name(importPath) == "" {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && f.names(sel, importPath, members...) {
				report(n, importPath+"."+sel.Sel.Name)
			}
			return true
		})
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if g, ok := n.(*ast.GoStmt); ok {
			report(g, "go statement")
		}
		return true
	})
	return out
}
