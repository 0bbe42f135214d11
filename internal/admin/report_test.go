package admin

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

// A report is handed on as it came, from whoever may read the feed; what is wrong with it
// is told.
func TestReport(t *testing.T) {
	const body = `{"v":1}`
	var got []string
	var says error
	s := serve(t, founded(t), func(c *Config) {
		c.Report = func(of string, body []byte) error {
			got = append(got, of+" "+string(body))
			return says
		}
	})
	report := asking{method: "POST", path: "/v1/feed/report", body: body}
	var taken Taken
	if a := s.ask(report, &taken); a.StatusCode != http.StatusOK || !taken.OK || len(got) != 1 || got[0] != " "+body {
		t.Errorf("status %d, %+v, handed on %q; want it, of any Region by an operator", a.StatusCode, taken, got)
	}
	says = &Problem{Kind: KindTooMany, Detail: "too many applications", Next: "later"}
	s.refused(report, 429, KindTooMany)
	says = errors.New("something else")
	s.refused(report, 500, KindInternal)
	handed := len(got)
	viewer, nobody, text, long := report, report, report, report
	viewer.token, nobody.token, text.kind, long.body = viewerToken, "-", "text/plain", strings.Repeat(" ", maxBody+1)
	s.refused(viewer, 403, KindForbidden)
	s.refused(nobody, 401, KindUnauthorized)
	s.refused(text, 415, KindMedia)
	s.refused(long, 413, KindTooLarge)
	if len(got) != handed {
		t.Errorf("%q were handed on", got[handed:])
	}
	serve(t, founded(t), nil).refused(report, 404, KindNotFound)
}
