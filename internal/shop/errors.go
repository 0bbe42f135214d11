package shop

import (
	"errors"
	"net/http"
	"strings"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/crdt"
)

// failed answers a request whose session can't be loaded or written.
func (s *Shop) failed(w http.ResponseWriter, r *http.Request, err error) {
	code, title, text := http.StatusServiceUnavailable, "One moment",
		"Your session can't be reached right now, and nothing was changed. You are still logged in; please try again."
	switch {
	case errors.Is(err, roam.ErrEnded):
		code, title, text = http.StatusConflict, "Your session has ended",
			"It was ended elsewhere while this page was being made. Nothing was changed; please log in again."
	case errors.Is(err, crdt.ErrLimit):
		code, title, text = http.StatusConflict, "Your session is full",
			"It can't hold any more. Log out and in again to begin a new one."
	case errors.Is(err, roam.ErrUnknownOutcome):
		text = "Nobody can tell whether that was counted. You are still logged in; look before you try again."
	case errors.Is(err, roam.ErrStale):
		text = "This page shows nothing that may be old, and news of a Region is late. You are still logged in: the other pages work, and this one will soon."
	}
	if code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	s.refuse(w, r, code, title, text)
}

func (s *Shop) badForm(w http.ResponseWriter, r *http.Request, err error) {
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		s.refuse(w, r, http.StatusRequestEntityTooLarge, "Too large", "No form of this shop is that large.")
		return
	}
	s.refuse(w, r, http.StatusBadRequest, "Not a form", "What was sent can't be read as a form.")
}

// refuse answers with one clear error: a page, or JSON to scripts.
func (s *Shop) refuse(w http.ResponseWriter, r *http.Request, code int, title, text string) {
	if strings.HasPrefix(r.URL.Path, "/api/") {
		writeJSON(w, code, map[string]string{"region": s.config.Region, "error": title, "text": text})
		return
	}
	st := s.nothing()
	if code != http.StatusServiceUnavailable {
		st.Rung, st.State = "none", "not asked"
	}
	again := "/"
	if r.Method == http.MethodGet && code == http.StatusServiceUnavailable {
		again = r.URL.Path
	}
	var p page
	s.open(&p, title, st)
	p.add(`<p role="alert" id="error-text">{}</p>
<p><a id="retry" href="{}">Go on</a></p>
`, text, again)
	s.shut(&p, st, "/")
	send(w, code, &p)
}
