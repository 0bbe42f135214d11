package shop

import (
	"net/http"
	"strconv"
	"time"

	"github.com/roam-sessions/roam"
)

// send sends a page. The session is committed with its first byte.
func send(w http.ResponseWriter, code int, p *page) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store") // it shows who is logged in
	w.WriteHeader(code)
	_, _ = w.Write([]byte(p.b.String())) // the client may be gone
}

func (s *Shop) showCatalogue(w http.ResponseWriter, r *http.Request) {
	st := s.status(roam.FromContext(r.Context()))
	var p page
	s.open(&p, "Catalogue", st)
	if it, ok := itemCalled(r.Form.Get("added")); ok {
		p.add(`<p class="note" role="status">{} is in your cart.</p>
`, it.name)
	}
	p.add(`<ul class="items">
`)
	for _, it := range catalogue() {
		p.add(`<li data-item="{}">
<span class="tile" aria-hidden="true">{}</span>
<h2>{}</h2>
<p>{}</p>
<form method="post" action="/cart/add">
<input type="hidden" name="item" value="{}">
<strong>{}</strong>
<button id="add-{}" aria-label="Add {} to the cart">Add to cart</button>
</form>
</li>
`, it.id, it.name[:1], it.name, it.about, it.id, price(it.cents), it.id, it.name)
	}
	p.add(`</ul>
<section aria-labelledby="visits-title">
<h2 id="visits-title">Visits</h2>
<p>You have counted <strong id="visits-count">{}</strong> visits. The count grows in every Region at once, and nothing counted is lost.</p>
<form method="post" action="/visits"><button id="visits-add">Count this visit</button></form>
</section>
`, strconv.FormatInt(st.Visits, 10))
	s.shut(&p, st, "/")
	send(w, http.StatusOK, &p)
}

func (s *Shop) showCart(w http.ResponseWriter, r *http.Request) {
	st := s.status(roam.FromContext(r.Context()))
	var p page
	s.open(&p, "Cart", st)
	if len(st.Cart) == 0 {
		p.add(`<p id="cart-empty">Your cart is empty. <a href="/">See what there is.</a></p>
`)
		s.shut(&p, st, "/cart")
		send(w, http.StatusOK, &p)
		return
	}
	p.add(`<table>
<thead><tr><th scope="col">Item</th><th scope="col">Quantity</th><th scope="col">Price</th><th scope="col">Change</th></tr></thead>
<tbody>
`)
	total := 0
	for _, l := range st.Cart {
		it, _ := itemCalled(l.Item) // lines knows no others
		total += l.Quantity * it.cents
		p.add(`<tr data-item="{}"><th scope="row">{}</th><td id="quantity-{}">{}</td><td>{}</td>
<td><form method="post" action="/cart/remove">
<input type="hidden" name="item" value="{}">
<button id="remove-{}" aria-label="Take out one {}">Take out one</button>
<button id="remove-all-{}" name="all" value="1" aria-label="Take out all of {}">all</button>
</form></td></tr>
`, it.id, it.name, it.id, itoa(l.Quantity), price(l.Quantity*it.cents), it.id, it.id, it.name, it.id, it.name)
	}
	p.add(`</tbody>
<tfoot><tr><th scope="row" colspan="2">Total</th><td id="cart-total" colspan="2">{}</td></tr></tfoot>
</table>
`, price(total))
	s.shut(&p, st, "/cart")
	send(w, http.StatusOK, &p)
}

func (s *Shop) showLogin(w http.ResponseWriter, r *http.Request) {
	s.loginPage(w, roam.FromContext(r.Context()), http.StatusOK, "")
}

// loginPage shows the form, with what was wrong with the last one.
func (s *Shop) loginPage(w http.ResponseWriter, sess *roam.Session, code int, wrong string) {
	st := s.status(sess)
	var p page
	s.open(&p, "Log in", st)
	if wrong != "" {
		p.add(`<p class="note bad" role="alert" id="login-wrong">{}</p>
`, wrong)
	}
	p.add(`<form method="post" action="/login" class="card">
<label for="login-user">Name</label>
<input id="login-user" name="user" autocomplete="username" required>
<label for="login-password">Password</label>
<input id="login-password" name="password" type="password" autocomplete="current-password" required aria-describedby="login-hint">
<p id="login-hint">This is a demo: any name with any password works. Don't use a real one.</p>
<button id="login-submit" class="main">Log in</button>
</form>
`)
	s.shut(&p, st, "/login")
	send(w, code, &p)
}

func (s *Shop) showAccount(w http.ResponseWriter, r *http.Request) {
	st := s.status(roam.FromContext(r.Context()))
	if st.User == "" {
		http.Redirect(w, r, "/login", http.StatusSeeOther)
		return
	}
	since := ""
	if st.Created != nil {
		since = st.Created.Format(time.RFC1123)
	}
	var p page
	s.open(&p, "Account", st)
	p.add(`<p>You are <strong id="account-user">{}</strong>. Your session began on {}.</p>
<p>This page is strict: it would rather be refused than show something that may be old.</p>
<form method="post" action="/logout/everywhere" class="card">
<h2>Log out everywhere</h2>
<p>Ends your sessions in all browsers and all Regions, and any login that is under way.</p>
<button id="logout-everywhere">Log out everywhere</button>
</form>
`, st.User, since)
	s.shut(&p, st, "/account")
	send(w, http.StatusOK, &p)
}

// loggedOut says how far a logout has come, to scripts as JSON.
func (s *Shop) loggedOut(w http.ResponseWriter, r *http.Request, sess *roam.Session, title string, told roam.Revocation) {
	st := s.status(sess)
	if r.Header.Get("Accept") == "application/json" {
		writeJSON(w, http.StatusOK, map[string][]string{"have": told.Have, "waiting": told.Waiting})
		return
	}
	var p page
	s.open(&p, title, st)
	switch {
	case told.Everywhere() && len(told.Have) == 0:
		p.add(`<p>There was no session to end.</p>
`)
	case told.Everywhere():
		p.add(`<p role="status">Every Region has it.</p>
`)
	default:
		p.add(`<p class="note bad" role="status">Not every Region has it yet. The others are told until they do.</p>
`)
	}
	regions(&p, "logout-have", "Have it", told.Have)
	regions(&p, "logout-waiting", "Still being told", told.Waiting)
	p.add(`<p><a href="/">Back to the catalogue</a></p>
`)
	s.shut(&p, st, "/")
	send(w, http.StatusOK, &p)
}

func regions(p *page, id, title string, names []string) {
	if len(names) == 0 {
		return
	}
	p.add(`<h2>{}</h2>
<ul id="{}">
`, title, id)
	for _, n := range names {
		p.add(`<li data-region="{}">{}</li>
`, n, n)
	}
	p.add("</ul>\n")
}
