package house

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// checkDecisions is rule 38.
func checkDecisions(r *repo) []finding {
	var out []finding
	var records strings.Builder
	for _, name := range r.tracked {
		if ok, _ := path.Match("docs/decisions/[0-9]*.md", name); ok {
			records.WriteString(r.text(name))
		}
	}
	for _, mod := range readArrows(r.text(home + "/arrows.txt")).modules() {
		if !strings.Contains(records.String(), "`"+mod+"`") {
			out = append(out, finding{mod, home + "/arrows.txt", fmt.Sprintf(
				"no record in docs/decisions names %#q: write what it saves and what it costs, as docs/decisions/README.md shows", mod)})
		}
	}
	return out
}

// checkPaths looks for paths that only exist on the machine of whoever wrote
// them. The needles are put together here so that this file is clean.
func checkPaths(r *repo) []finding {
	needle := regexp.MustCompile(`(^|[^A-Za-z0-9_.)}\]*-])/` + `(work/|tmp/wt|root/|Users/[a-z])`)
	var out []finding
	for _, name := range r.tracked {
		if path.Base(name) == "go.sum" || ourFixture(name) {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(r.root, filepath.FromSlash(name)))
		if err != nil || bytes.IndexByte(raw, 0) >= 0 {
			continue
		}
		for i, line := range strings.Split(string(raw), "\n") {
			if hit := needle.FindString(line); hit != "" {
				out = append(out, finding{name, fmt.Sprintf("%s:%d", name, i+1), fmt.Sprintf("%q is a path of one machine: make it relative", strings.TrimSpace(hit))})
				break
			}
		}
	}
	return out
}

// ourFixture tells whether a file holds the bad trees of these tests.
func ourFixture(name string) bool { return strings.HasPrefix(name, home+"/testdata/") }

// pages are the Markdown files of the tree, by name.
func (r *repo) pages() []string {
	return slices.DeleteFunc(slices.Clone(r.tracked), func(name string) bool {
		return path.Ext(name) != ".md" || ourFixture(name)
	})
}

// prose is a page without its code, and code is the rest, each with as many lines.
func prose(text string) (words, code string) {
	span := regexp.MustCompile("`[^`]*`")
	fenced := false
	for line := range strings.Lines(text) {
		fence := strings.HasPrefix(strings.TrimSpace(line), "```")
		switch {
		case fence:
			fenced = !fenced
			words, code = words+"\n", code+"\n"
		case fenced:
			words, code = words+"\n", code+line
		default:
			words += span.ReplaceAllString(line, "``")
			code += strings.Join(span.FindAllString(line, -1), " ") + "\n"
		}
	}
	return words, code
}

// checkLinks follows relative links and images.
func checkLinks(r *repo) []finding {
	link := regexp.MustCompile(`\]\(([^)\s]+)[^)]*\)|^\[[^\]]+\]:\s+(\S+)`)
	foreign := regexp.MustCompile(`^([a-z]+:|#)`)
	var out []finding
	for _, name := range r.pages() {
		words, _ := prose(r.text(name))
		for i, line := range strings.Split(words, "\n") {
			for _, m := range link.FindAllStringSubmatch(line, -1) {
				target, _, _ := strings.Cut(m[1]+m[2], "#")
				if target == "" || foreign.MatchString(m[1]+m[2]) {
					continue
				}
				full := path.Join(path.Dir(name), target)
				if _, err := os.Stat(filepath.Join(r.root, filepath.FromSlash(full))); err != nil {
					out = append(out, finding{name + " " + target, fmt.Sprintf("%s:%d", name, i+1), fmt.Sprintf("the link to %s leads nowhere", target)})
				}
			}
		}
	}
	return sorted(out)
}

// checkTargets holds pages to the Makefile: what they tell to run is there.
func checkTargets(r *repo) []finding {
	var targets []string
	for _, m := range regexp.MustCompile(`(?m)^([a-z][a-z-]*):`).FindAllStringSubmatch(r.text("Makefile"), -1) {
		targets = append(targets, m[1])
	}
	call := regexp.MustCompile("(?:^|[`$;&|(])\\s*make ([a-z][a-z-]*)")
	var out []finding
	for _, name := range r.pages() {
		_, code := prose(r.text(name))
		for i, line := range strings.Split(code, "\n") {
			for _, m := range call.FindAllStringSubmatch(line, -1) {
				if !slices.Contains(targets, m[1]) {
					out = append(out, finding{name + " " + m[1], fmt.Sprintf("%s:%d", name, i+1), fmt.Sprintf("the Makefile has no target %s", m[1])})
				}
			}
		}
	}
	return sorted(out)
}
