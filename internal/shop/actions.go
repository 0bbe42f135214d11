package shop

import (
	"net/http"
	"slices"
	"strings"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/crdt"
)

func (s *Shop) add(w http.ResponseWriter, r *http.Request) {
	it, ok := s.itemOf(w, r)
	if !ok {
		return
	}
	if err := putIn(roam.FromContext(r.Context()), it); err != nil {
		s.refuse(w, r, http.StatusConflict, "The cart is full",
			"It holds "+itoa(maxPieces)+" pieces. Take something out first.")
		return
	}
	http.Redirect(w, r, "/?added="+it.id, http.StatusSeeOther)
}

func (s *Shop) remove(w http.ResponseWriter, r *http.Request) {
	it, ok := s.itemOf(w, r)
	if !ok {
		return
	}
	takeOut(roam.FromContext(r.Context()), it, r.PostForm.Has("all"))
	http.Redirect(w, r, "/cart", http.StatusSeeOther)
}

// itemOf returns the item that a form names, or refuses it.
func (s *Shop) itemOf(w http.ResponseWriter, r *http.Request) (item, bool) {
	it, ok := itemCalled(r.PostForm.Get("item"))
	if !ok {
		s.refuse(w, r, http.StatusBadRequest, "No such item", "This shop doesn't sell that.")
	}
	return it, ok
}

func (s *Shop) visit(w http.ResponseWriter, r *http.Request) {
	visits.Add(roam.FromContext(r.Context()), 1)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (s *Shop) setTheme(w http.ResponseWriter, r *http.Request) {
	name := r.PostForm.Get("theme")
	if !slices.Contains(themes(), name) {
		s.refuse(w, r, http.StatusBadRequest, "No such theme", "Choose auto, light or dark.")
		return
	}
	if err := theme.Set(roam.FromContext(r.Context()), name); err != nil {
		s.failed(w, r, err)
		return
	}
	http.Redirect(w, r, back(r), http.StatusSeeOther)
}

// back returns the page that a form came from. Only pages of ours are gone back
// to: a form that names another is a lure.
func back(r *http.Request) string {
	if to := r.PostForm.Get("back"); slices.Contains([]string{"/cart", "/login", "/account"}, to) {
		return to
	}
	return "/"
}

// login logs in whoever gives any password. The authentication begins before
// the password is looked at, so that "log out everywhere" pressed meanwhile
// ends this login too.
func (s *Shop) login(w http.ResponseWriter, r *http.Request) {
	sess := roam.FromContext(r.Context())
	user := strings.TrimSpace(r.PostForm.Get("user"))
	if user == "" || len(user) > crdt.MaxUserBytes {
		s.loginPage(w, sess, http.StatusBadRequest, "Give a name of 1 to "+itoa(crdt.MaxUserBytes)+" bytes.")
		return
	}
	auth, err := s.store.BeginAuth(r.Context(), user)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	if r.PostForm.Get("password") == "" {
		s.loginPage(w, sess, http.StatusForbidden, "Give a password. Any will do.")
		return
	}
	sess.Login(auth)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (s *Shop) logout(w http.ResponseWriter, r *http.Request) {
	sess := roam.FromContext(r.Context())
	told, err := sess.Destroy(r.Context())
	if err != nil {
		s.failed(w, r, err)
		return
	}
	s.loggedOut(w, r, sess, "Logged out", told)
}

func (s *Shop) logoutEverywhere(w http.ResponseWriter, r *http.Request) {
	sess := roam.FromContext(r.Context())
	user := sess.User()
	if user == "" {
		http.Redirect(w, r, "/login", http.StatusSeeOther)
		return
	}
	told, err := s.store.RevokeUser(r.Context(), user)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	s.loggedOut(w, r, sess, "Logged out everywhere", told)
}
