package shop

import (
	"html"
	"strings"
)

// markup is HTML that this package wrote. Literals are, by conversion; a string
// from elsewhere does not compile as one.
type markup string

// slot in markup is where a text goes, always between tags or inside quotes.
const slot = "{}"

// A page is HTML being written. html/template is left out on purpose: linking
// it keeps every method of the whole program.
type page struct{ b strings.Builder }

// add appends m, with each slot taken by the next of texts, escaped.
func (p *page) add(m markup, texts ...string) {
	rest := string(m)
	for _, t := range texts {
		before, after, _ := strings.Cut(rest, slot)
		p.b.WriteString(before)
		p.b.WriteString(html.EscapeString(t))
		rest = after
	}
	p.b.WriteString(rest)
}

// open begins a page: head, header with navigation, and the start of main.
func (s *Shop) open(p *page, title string, st status) {
	p.add(`<!doctype html>
<html lang="en" data-theme="{}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{} – {}</title>
<link rel="stylesheet" href="/style.css">
<link rel="icon" href="data:,">
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header>
<a class="brand" href="/">{}</a>
<nav aria-label="Shop">
<a href="/">Catalogue</a>
<a href="/cart">Cart <span class="count" id="cart-count">{}</span></a>
`, st.Theme, title, s.config.Title, s.config.Title, itoa(st.pieces()))
	if st.User == "" {
		p.add(`<a href="/login" id="login-link">Log in</a>
`)
	} else {
		p.add(`<a href="/account">Account</a>
<form method="post" action="/logout"><button id="logout">Log out</button></form>
`)
	}
	p.add(`</nav>
</header>
`)
	s.bar(p, st)
	p.add(`<main id="main">
<h1>{}</h1>
`, title)
}

// bar shows how the page was served.
func (s *Shop) bar(p *page, st status) {
	p.add(`<aside aria-label="How this page was served"><dl>
<div><dt>Region</dt><dd id="bar-region">{}</dd></div>
<div><dt>Rung</dt><dd id="bar-rung" class="rung {}">{}</dd></div>
<div><dt>Session</dt><dd id="bar-state">{}</dd></div>
<div><dt>Logged in</dt><dd id="bar-user">{}</dd></div>
<div><dt>Fingerprint</dt><dd id="bar-session"><code>{}</code></dd></div>
<div><dt>Left the Region</dt><dd id="bar-left">{}</dd></div>
`, st.Region, st.Rung, st.Rung, st.State, or(st.User, "nobody"), or(st.Session, "none yet"), left(st))
	p.add("</dl></aside>\n")
}

func left(st status) string {
	switch {
	case st.Left:
		return "yes, " + st.Served + " answered"
	case st.Served == "":
		return "no, nobody was asked"
	}
	return "no"
}

// shut ends a page: main, and the footer with what holds on every page. Back is
// where the theme's form returns to.
func (s *Shop) shut(p *page, st status, back string) {
	p.add(`</main>
<footer>
<form method="post" action="/theme" aria-label="Theme"><span aria-hidden="true">Theme</span>
<input type="hidden" name="back" value="{}">
`, back)
	for _, name := range themes() {
		pressed := "false"
		if name == st.Theme {
			pressed = "true"
		}
		p.add(`<button name="theme" value="{}" id="theme-{}" aria-pressed="{}">{}</button>
`, name, name, pressed, name)
	}
	p.add("</form>\n")
	if len(s.config.Doors) > 0 {
		p.add(`<nav aria-label="The same shop in other Regions"><span>Be served by</span>
`)
		for _, d := range s.config.Doors {
			p.add(`<a href="{}" data-region="{}">{}</a>
`, d.URL, d.Region, d.Region)
		}
		p.add("</nav>\n")
	}
	p.add("</footer>\n</body>\n</html>\n")
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
