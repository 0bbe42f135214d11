package roam

import (
	"errors"
	"maps"
	"net/http"
	"slices"

	"github.com/roam-sessions/roam/internal/proof"
)

// A response commits the session before the first byte of the answer goes out,
// because cookies can't follow it.
type response struct {
	http.ResponseWriter
	request *http.Request
	session *Session

	before    http.Header // what stood there before the handler came
	committed bool
	failed    bool // OnError answered; what the handler writes is dropped
}

// Unwrap lets http.ResponseController find what is below.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader commits and sends the headers. Informational ones (1xx) go out as
// they are.
func (w *response) WriteHeader(code int) {
	if code >= 200 || code == http.StatusSwitchingProtocols {
		w.commit()
	}
	if !w.failed {
		w.ResponseWriter.WriteHeader(code)
	}
}

// Write commits, then writes. After a failed commit it drops what it is given.
func (w *response) Write(b []byte) (int, error) {
	w.commit()
	if w.failed {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

// FlushError commits and sends what was written.
func (w *response) FlushError() error {
	w.commit()
	if w.failed {
		return nil
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Flush is FlushError for those who ask for an http.Flusher.
func (w *response) Flush() { _ = w.FlushError() }

// commit writes the session and sets its cookies, the first time.
func (w *response) commit() {
	if w.committed {
		return
	}
	w.committed = true
	s, m := w.session, w.session.manager
	cred, err := s.commit(w.request.Context())
	if err != nil && !(errors.Is(err, ErrEnded) && s.class == Safe) {
		w.failed = true
		w.forget()
		m.options.OnError(w.ResponseWriter, w.request, err)
		return
	}
	w.vary()
	w.setCookies(cred)
}

// forget takes out the headers of an answer that is not given: its length, its
// type, where it led to, how long it could be cached.
func (w *response) forget() {
	h := w.Header()
	clear(h)
	maps.Copy(h, w.before)
}

// vary makes sure that caches tell visitors apart, whatever the handler set.
func (w *response) vary() {
	if h := w.Header(); !slices.Contains(h.Values("Vary"), "Cookie") {
		h.Add("Vary", "Cookie")
	}
}

// setCookies sets and clears what After says.
func (w *response) setCookies(cred *proof.Credential) {
	s, m := w.session, w.session.manager
	maxAge := 0
	if m.options.Cookie.Persistent {
		maxAge = int(m.options.Lifetime.Seconds())
	}
	s.mu.Lock()
	end := proof.Ending{
		Brought: s.brought, Seen: s.standing.Seen, Set: cred, Ended: s.ended,
		Spent: s.standing.Spent, Sealing: s.sealing,
	}
	s.mu.Unlock()
	now := m.store.now()
	out := proof.After(end, now)
	if out.Credential != nil {
		w.setCookie(m.credentialName(), m.keys.SignCredential(*out.Credential), maxAge)
	}
	if out.ClearCredential {
		w.setCookie(m.credentialName(), "", -1)
	}
	if out.Seen != nil {
		w.setCookie(m.seenName(), m.keys.SignSeen(*out.Seen), maxAge)
	}
	for slot := range proof.Slots {
		switch {
		case out.Sealing != nil && out.Sealing.Slot == slot:
			w.setCookie(m.sealedName(slot), out.Sealing.Value, max(1, int(out.Sealing.Left(now).Seconds())))
		case out.ClearSealed.Has(slot):
			w.setCookie(m.sealedName(slot), "", -1)
		}
	}
}

// setCookie sets one cookie. The answer that carries it is nobody else's, even
// where the handler would have let caches keep it.
func (w *response) setCookie(name, value string, maxAge int) {
	http.SetCookie(w.ResponseWriter, w.session.manager.cookie(name, value, maxAge))
	w.Header().Set("Cache-Control", "no-store")
}

func (m *Manager) cookie(name, value string, maxAge int) *http.Cookie {
	o := m.options.Cookie
	return &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: !o.Plain, SameSite: o.SameSite,
	}
}
