package house

import (
	"fmt"
	"go/ast"
	"go/doc"
	"path"
	"slices"
	"strings"
	"unicode"
)

// maxSentence bounds the words of a package's first sentence: what takes more
// is two jobs.
const maxSentence = 25

// checkDoc is rule 1.
func checkDoc(r *repo) []finding {
	var out []finding
	for room, files := range r.rooms {
		if !slices.ContainsFunc(files, func(f *file) bool { return !f.test }) {
			continue // tests alone need no room
		}
		var home *file
		for _, f := range files {
			if path.Base(f.path) == "doc.go" {
				home = f
			} else if f.ast.Doc.Text() != "" {
				out = append(out, finding{f.path, r.at(f.ast.Doc), "the package comment belongs in doc.go alone: move it, or put an empty line above the package clause"})
			}
		}
		if home == nil || home.ast.Doc.Text() == "" {
			out = append(out, finding{room, files[0].path, "add a doc.go with the room's comment: " + opening(files) + " …"})
			continue
		}
		if why := judgeSentence(home.ast.Doc, opening(files)); why != "" {
			out = append(out, finding{home.path, r.at(home.ast.Doc), why})
		}
	}
	return sorted(out)
}

// opening is how the package comment of these files begins.
func opening(files []*file) string {
	f := files[slices.IndexFunc(files, func(f *file) bool { return !f.test })]
	if f.pkg == "main" {
		return "Command " + path.Base(f.room)
	}
	return "Package " + f.pkg
}

// judgeSentence says what is wrong with the comment's first sentence, or "".
func judgeSentence(c *ast.CommentGroup, opening string) string {
	first := new(doc.Package).Synopsis(c.Text())
	switch n := len(strings.FieldsFunc(first, unicode.IsSpace)); {
	case !strings.HasPrefix(first, opening+" "):
		return fmt.Sprintf("begin the package comment with %q", opening)
	case !strings.HasSuffix(first, "."):
		return "end the first sentence of the package comment with a period"
	case n > maxSentence:
		return fmt.Sprintf("the first sentence has %d words, at most %d: tell the room's one job", n, maxSentence)
	}
	return ""
}
