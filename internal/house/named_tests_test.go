package house

import (
	"regexp"
	"strings"
	"testing"
)

// A page that points to a test as its proof points to one that exists.
func TestPagesNameRealTests(t *testing.T) {
	r, err := here()
	if err != nil {
		t.Fatal(err)
	}
	defined := map[string]bool{}
	declaration := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	for _, name := range r.tracked {
		if !strings.HasSuffix(name, ".go") || ourFixture(name) {
			continue
		}
		for _, m := range declaration.FindAllStringSubmatch(r.text(name), -1) {
			defined[m[1]] = true
		}
	}
	mention := regexp.MustCompile("`(Test[A-Z]\\w+)`")
	for _, page := range r.pages() {
		for _, m := range mention.FindAllStringSubmatch(r.text(page), -1) {
			if !defined[m[1]] {
				t.Errorf("%s names %s, which no test is called: correct the page, or write the test", page, m[1])
			}
		}
	}
}
