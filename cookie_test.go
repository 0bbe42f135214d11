package roam_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/crdt"
)

func TestCookieAttributes(t *testing.T) {
	for _, c := range []struct {
		name   string
		cookie roam.Cookie
		want   []string // attributes besides name and value, in the order of http.SetCookie
		prefix string
	}{
		{"default", roam.Cookie{}, []string{"Path=/", "HttpOnly", "Secure", "SameSite=Lax"}, "__Host-roam"},
		{"strict", roam.Cookie{SameSite: http.SameSiteStrictMode}, []string{"Path=/", "HttpOnly", "Secure", "SameSite=Strict"}, "__Host-roam"},
		{"none", roam.Cookie{SameSite: http.SameSiteNoneMode}, []string{"Path=/", "HttpOnly", "Secure", "SameSite=None"}, "__Host-roam"},
		{"persistent", roam.Cookie{Persistent: true}, []string{"Path=/", "Max-Age=3600", "HttpOnly", "Secure", "SameSite=Lax"}, "__Host-roam"},
		{"plain", roam.Cookie{Plain: true, Name: "dev"}, []string{"Path=/", "HttpOnly", "SameSite=Lax"}, "dev"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newApp(t, roam.Options{Cookie: c.cookie, Lifetime: time.Hour})
			lines := a.visit(browser{}, "/", change(t)).Header.Values("Set-Cookie")
			if len(lines) != 2 {
				t.Fatalf("Set-Cookie = %q, want the credential and the token", lines)
			}
			for i, name := range []string{c.prefix, c.prefix + "-seen"} {
				nameValue, attributes, _ := strings.Cut(lines[i], "; ")
				if !strings.HasPrefix(nameValue, name+"=") || attributes != strings.Join(c.want, "; ") {
					t.Errorf("Set-Cookie = %q, want %s with %q", lines[i], name, c.want)
				}
				if len(lines[i]) > 4096 {
					t.Errorf("Set-Cookie has %d bytes, want at most 4096", len(lines[i]))
				}
			}
		})
	}
}

// An answer that sets a cookie is nobody else's, whatever the handler thought of
// it.
func TestCookieAnswersAreNotCached(t *testing.T) {
	a := newApp(t, roam.Options{})
	res := a.visit(browser{}, "/", func(w http.ResponseWriter, r *http.Request, s *roam.Session) {
		w.Header().Set("Cache-Control", "public, max-age=600")
		w.Header().Set("Vary", "Accept")
		change(t)(w, r, s)
	})
	if got := res.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control = %q with Set-Cookie, want no-store", got)
	}
	if got := strings.Join(res.Header.Values("Vary"), ", "); got != "Accept, Cookie" {
		t.Errorf("Vary = %q, want Accept, Cookie", got)
	}
	res = a.visit(browser{}, "/", func(w http.ResponseWriter, _ *http.Request, _ *roam.Session) {
		w.Header().Set("Cache-Control", "public, max-age=600")
	})
	if got := res.Header.Get("Cache-Control"); got != "public, max-age=600" {
		t.Errorf("Cache-Control = %q without Set-Cookie, want the handler's", got)
	}
	if got := res.Header.Get("Vary"); got != "Cookie" {
		t.Errorf("Vary = %q, want Cookie", got)
	}
}

// What is not our cookie is nobody's session: no Region is asked, no cookie is
// touched, and its ID is never adopted.
func TestStrangeCredentials(t *testing.T) {
	a := newApp(t, roam.Options{})
	owner := browser{}
	a.visit(owner, "/", change(t))
	value := owner[credentialName]
	raw, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil {
		t.Fatalf("credential %q is not base64: %v", value, err)
	}
	other := browser{}
	other.visit(a.manager(t, testKey("other"), roam.Options{}), "/", change(t))
	strange := map[string]string{
		"empty": "", "word": "hello", "long": strings.Repeat("A", 10_000),
		"truncated": value[:len(value)-4], "one character more": value + "A",
		"padded": value + "=", "standard base64": strings.NewReplacer("-", "+", "_", "/").Replace(value) + "+",
		"of another key": other[credentialName],
		"the token":      owner[seenName],
	}
	for i := range raw {
		edited := append([]byte(nil), raw...)
		edited[i] ^= 1
		strange["edited at byte "+string(rune('0'+i/10))+string(rune('0'+i%10))] = base64.RawURLEncoding.EncodeToString(edited)
	}
	a.engine.calls()
	for name, v := range strange {
		b := browser{credentialName: v}
		s, res := a.look(b, "/")
		reads, writes := a.engine.calls()
		if s.State() != roam.New || s.User() != "" || s.Fingerprint() != "" {
			t.Errorf("%s: session is %v of %q, want new", name, s.State(), s.User())
		}
		if len(res.Cookies()) > 0 || reads+writes > 0 {
			t.Errorf("%s: %d cookies set, %d engine calls, want none", name, len(res.Cookies()), reads+writes)
		}
	}
	b := browser{credentialName: other[credentialName]}
	a.visit(b, "/", change(t))
	if b[credentialName] == other[credentialName] || b[credentialName] == "" {
		t.Error("a foreign credential was kept when the session was made, want a new one")
	}
}

func TestStrangeTokensAreNotSeen(t *testing.T) {
	a := newApp(t, roam.Options{})
	b := browser{}
	a.visit(b, "/", change(t))
	for _, v := range []string{"", "x", b[credentialName], strings.Repeat("A", 600)} {
		b := b.clone()
		b[seenName] = v
		if s, _ := a.look(b, "/"); s.State() != roam.Live {
			t.Errorf("with token %.20q: session is %v, want live", v, s.State())
		}
	}
}

func TestOldKeys(t *testing.T) {
	a := newApp(t, roam.Options{})
	b := browser{}
	a.visit(b, "/", change(t))
	rotated := a.manager(t, testKey("second"), roam.Options{OldKeys: [][]byte{testKey("first")}})
	state := func(m *roam.Manager) (st roam.State) {
		b.visit(m, "/", func(_ http.ResponseWriter, _ *http.Request, s *roam.Session) { st = s.State() })
		return st
	}
	if got := state(rotated); got != roam.Live {
		t.Errorf("with the key as an old one: session is %v, want live", got)
	}
	b.visit(rotated, "/", renew)
	if got := state(a.manager(t, testKey("second"), roam.Options{})); got != roam.Live {
		t.Errorf("after Renew, with the new key alone: session is %v, want live", got)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	a := newApp(t, roam.Options{})
	long := testKey("first")
	for name, c := range map[string]struct {
		key []byte
		o   roam.Options
	}{
		"short key":           {key: long[:31]},
		"no key":              {},
		"short old key":       {key: long, o: roam.Options{OldKeys: [][]byte{long[:31]}}},
		"lifetime too long":   {key: long, o: roam.Options{Lifetime: 401 * 24 * time.Hour}},
		"lifetime at the end": {key: long, o: roam.Options{Lifetime: crdt.MaxLifetime}},
		"idle of half a ms":   {key: long, o: roam.Options{Idle: time.Second + time.Millisecond/2}},
		"lifetime too short":  {key: long, o: roam.Options{Lifetime: time.Millisecond}},
		"idle after lifetime": {key: long, o: roam.Options{Lifetime: time.Hour, Idle: 2 * time.Hour}},
		"none without Secure": {key: long, o: roam.Options{Cookie: roam.Cookie{Plain: true, SameSite: http.SameSiteNoneMode}}},
		"name with a space":   {key: long, o: roam.Options{Cookie: roam.Cookie{Name: "my cookie"}}},
		"name with a prefix":  {key: long, o: roam.Options{Cookie: roam.Cookie{Name: "__Host-roam", Plain: true}}},
	} {
		if _, err := roam.NewManager(a.store, c.key, c.o); err == nil {
			t.Errorf("%s: NewManager() = nil error, want one", name)
		}
	}
}
