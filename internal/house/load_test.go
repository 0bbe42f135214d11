package house

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// home is where this package lies in the repository; its texts are read from there.
const home = "internal/house"

// rootRoom is what the package at the top of the module is called in arrows.txt.
const rootRoom = "roam"

// repo is a whole source tree as the rules see it.
type repo struct {
	root    string                              // directory of go.mod
	module  string                              // the module's path
	require []string                            // modules that go.mod requires
	tracked []string                            // every file that git tracks or would, sorted
	fset    *token.FileSet                      // positions of all files
	files   []*file                             // the module's Go files, sorted by path
	rooms   map[string][]*file                  // the same files by room
	graph   func() (map[string][]string, error) // imports of every package reached, by import path
}

// file is one Go source file.
type file struct {
	path string // slash-separated, below the root
	room string // the directory; rootRoom for the root itself
	pkg  string // the package clause
	test bool   // named *_test.go
	src  []byte
	ast  *ast.File
}

// here is this repository, parsed once for all tests.
var here = sync.OnceValues(func() (*repo, error) { return load(filepath.Join("..", "..")) })

// load reads the tree whose go.mod is in root.
func load(root string) (*repo, error) {
	r := &repo{root: root, fset: token.NewFileSet(), rooms: map[string][]*file{}}
	if err := r.readModule(); err != nil {
		return nil, err
	}
	var err error
	if r.tracked, err = listFiles(root); err != nil {
		return nil, err
	}
	for _, name := range r.tracked {
		if path.Ext(name) != ".go" || r.outside(name) {
			continue
		}
		f, err := r.parse(name)
		if err != nil {
			return nil, err
		}
		if f == nil {
			continue
		}
		r.files = append(r.files, f)
		r.rooms[f.room] = append(r.rooms[f.room], f)
	}
	r.graph = sync.OnceValues(func() (map[string][]string, error) { return importGraph(root) })
	return r, nil
}

// readModule takes the module's path and its requirements from go.mod.
func (r *repo) readModule() error {
	out, err := goCommand(r.root, "mod", "edit", "-json")
	if err != nil {
		return err
	}
	var mod struct {
		Module  struct{ Path string }
		Require []struct{ Path string }
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		return fmt.Errorf("read go.mod: %w", err)
	}
	r.module = mod.Module.Path
	for _, req := range mod.Require {
		r.require = append(r.require, req.Path)
	}
	return nil
}

// outside tells whether a Go file belongs to no package of this module: it is
// test data, hidden, or under a go.mod of its own.
func (r *repo) outside(name string) bool {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		base := path.Base(dir)
		if base == "testdata" || base[0] == '.' || base[0] == '_' {
			return true
		}
		if slices.Contains(r.tracked, dir+"/go.mod") {
			return true
		}
	}
	return false
}

// parse reads one file. It returns nil for a file that no build includes.
func (r *repo) parse(name string) (*file, error) {
	src, err := os.ReadFile(filepath.Join(r.root, filepath.FromSlash(name)))
	if err != nil {
		return nil, err
	}
	tree, err := parser.ParseFile(r.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	f := &file{path: name, room: roomOf(path.Dir(name)), pkg: tree.Name.Name, src: src, ast: tree}
	f.test = strings.HasSuffix(name, "_test.go")
	if f.tagged("ignore") {
		return nil, nil
	}
	return f, nil
}

// roomOf names the room of a directory.
func roomOf(dir string) string {
	if dir == "." {
		return rootRoom
	}
	return dir
}

// tagged tells whether the file is built only under the tag, whatever the others.
func (f *file) tagged(tag string) bool {
	for _, group := range f.ast.Comments {
		if group.Pos() > f.ast.Package {
			break
		}
		for _, c := range group.List {
			if !constraint.IsGoBuild(c.Text) {
				continue
			}
			expr, err := constraint.Parse(c.Text)
			if err == nil && !expr.Eval(func(t string) bool { return t != tag }) && !expr.Eval(func(string) bool { return false }) {
				return true
			}
		}
	}
	return false
}

// name tells what the file calls the package imported from importPath, or "" if
// it does not import it.
func (f *file) name(importPath string) string {
	for _, spec := range f.ast.Imports {
		if importOf(spec) != importPath {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		base := path.Base(importPath)
		if len(base) > 1 && base[0] == 'v' && strings.Trim(base[1:], "0123456789") == "" {
			base = path.Base(path.Dir(importPath))
		}
		return base
	}
	return ""
}

// names tells whether the expression names pkg.member, with pkg an import path.
func (f *file) names(e ast.Expr, importPath string, members ...string) bool {
	sel, ok := e.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	id, ok := sel.X.(*ast.Ident)
	return ok && id.Name == f.name(importPath) && slices.Contains(members, sel.Sel.Name)
}

// importOf is the path that an import names.
func importOf(spec *ast.ImportSpec) string {
	p, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return spec.Path.Value
	}
	return p
}

// at prints where a node is: path and line.
func (r *repo) at(n ast.Node) string {
	p := r.fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

// text reads a file of the tree; a file that is not there is empty.
func (r *repo) text(name string) string {
	b, err := os.ReadFile(filepath.Join(r.root, filepath.FromSlash(name)))
	if err != nil {
		return ""
	}
	return string(b)
}

// listFiles asks git what it tracks or would track, and walks the tree where
// there is no git: a release archive, a fixture.
func listFiles(root string) ([]string, error) {
	var names []string
	if _, err := os.Stat(filepath.Join(root, ".git")); err == nil {
		cmd := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
		cmd.Dir = root
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("list files with git: %w", err)
		}
		names = strings.Split(strings.TrimRight(string(out), "\x00"), "\x00")
	} else if err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			names = append(names, name)
		}
		return err
	}); err != nil {
		return nil, fmt.Errorf("list files: %w", err)
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		info, err := os.Lstat(filepath.Join(root, filepath.FromSlash(name)))
		return err != nil || !info.Mode().IsRegular()
	})
	slices.Sort(names)
	return slices.Compact(names), watch(root, names)
}

// watch reads the folders of the files, so that the go command, which remembers
// what a test has read, runs the test again when a file is added.
func watch(root string, names []string) error {
	seen := map[string]bool{}
	for _, name := range names {
		dir := path.Dir(name)
		if seen[dir] {
			continue
		}
		seen[dir] = true
		if _, err := os.ReadDir(filepath.Join(root, filepath.FromSlash(dir))); err != nil {
			return err
		}
	}
	return nil
}

// importGraph asks the go command what every package of the module reaches.
func importGraph(root string) (map[string][]string, error) {
	out, err := goCommand(root, "list", "-deps", "-json=ImportPath,Imports", "./...")
	if err != nil {
		return nil, err
	}
	graph := map[string][]string{}
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); err != nil {
			return nil, fmt.Errorf("read the import graph: %w", err)
		}
		graph[p.ImportPath] = p.Imports
	}
	return graph, nil
}

// goCommand runs the go command in dir and returns what it printed.
func goCommand(dir string, args ...string) ([]byte, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}
