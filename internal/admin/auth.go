package admin

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/roam-sessions/roam/internal/pki"
)

const (
	// leastToken is how many letters a token has: 128 bits in base 64. A shorter one can
	// be guessed, and is not let in though its hash is known.
	leastToken = 22
	// mostToken bounds what is hashed.
	mostToken = 512
	// tokenBytes is how many random bytes NewToken takes.
	tokenBytes = 32
	// maxTokens bounds the tokens: each is compared for each request.
	maxTokens = 64
	// lastMoment is longer than anything is waited for but streams, which end with the
	// certificate by themselves.
	lastMoment = 2 * maxWait
	// feedPath is where the feed is, and below it what belongs to it.
	feedPath = "/v1/feed"
)

// A Role is what somebody may do.
type Role string

// The roles. A viewer may look. A member, which is a node of the deployment or an
// application beside one, may also read the topology and the feed. An operator may do all.
const (
	Viewer     Role = "viewer"
	MemberRole Role = "member"
	Operator   Role = "operator"
)

// A need is what a route asks for.
type need uint8

const (
	nothing need = iota // anybody may
	toLook
	toRead // what may hold what is nobody else's business, such as URLs of webhooks
	toAct
)

// A Token is one that is let in. Only its hash is known here.
type Token struct {
	Name   string // whom events and the log name
	Role   Role   // Viewer or Operator
	SHA256 [sha256.Size]byte
}

// NewToken returns a token of 256 random bits, and its hash.
func NewToken() (token string, hash [sha256.Size]byte) {
	var b [tokenBytes]byte
	_, _ = rand.Read(b[:]) // it never fails
	token = "roam_" + base64.RawURLEncoding.EncodeToString(b[:])
	return token, sha256.Sum256([]byte(token))
}

// An identity is who asks.
type identity struct {
	name  string
	role  Role
	until time.Time // when a person's certificate ends; zero: it is none
}

// may fails if the identity lacks what a route needs. What members and applications follow
// is not for people's certificates, whatever their role: who lives on it needs one that
// does not end within days.
func (i identity) may(to route) error {
	if !i.until.IsZero() && (to.path == feedPath || strings.HasPrefix(to.path, feedPath+"/")) {
		return &Problem{
			Kind: KindForbidden, Detail: i.name + " shows the certificate of a person, and the feed is for members and applications",
			Next: "ask with a member's certificate, or a token of an operator",
		}
	}
	n := to.needs
	ok := n == nothing || i.role == Operator || n != toAct && i.role == MemberRole || n == toLook && i.role == Viewer
	if ok {
		return nil
	}
	wants := map[need]string{
		toRead: "a token or certificate of an operator, or a member's certificate", toAct: "a token or certificate of an operator",
	}[n]
	return &Problem{Kind: KindForbidden, Detail: fmt.Sprintf("%s is a %s", i.name, i.role), Next: "ask with " + wants}
}

// ending reports whether an answer is to be the last on its connection: a stream, and what
// is asked when the certificate is about to end. Whoever has another by then shows it at
// the next handshake.
func (i identity) ending(to route, now time.Time) bool {
	return !i.until.IsZero() && (to.serve != nil || i.until.Sub(now) < lastMoment)
}

// serve has a stream end when the certificate does by which it was asked for.
func (i identity) serve(stream http.Handler, w http.ResponseWriter, r *http.Request) {
	if !i.until.IsZero() {
		ctx, cancel := context.WithDeadline(r.Context(), i.until)
		defer cancel()
		r = r.WithContext(ctx)
	}
	stream.ServeHTTP(w, r)
}

// An entry knows who is let in.
type entry struct {
	tokens   []Token
	open     bool
	failures throttle
}

func newEntry(tokens []Token, open bool) (*entry, error) {
	seen := map[string]bool{}
	for _, t := range tokens {
		switch {
		case t.Name == "" || seen[t.Name]:
			return nil, fmt.Errorf("%w: a token has no name, or one that another has: %q", errConfig, t.Name)
		case t.Role != Viewer && t.Role != Operator:
			return nil, fmt.Errorf("%w: token %s: want role %s or %s", errConfig, t.Name, Viewer, Operator)
		case t.SHA256 == [sha256.Size]byte{} || t.SHA256 == sha256.Sum256(nil):
			return nil, fmt.Errorf("%w: token %s has the hash of nothing", errConfig, t.Name)
		}
		seen[t.Name] = true
	}
	if len(tokens) > maxTokens {
		return nil, fmt.Errorf("%w: %d tokens, at most %d", errConfig, len(tokens), maxTokens)
	}
	return &entry{tokens: slices.Clone(tokens), open: open}, nil
}

// admit says who asks: by a token, which counts alone if there is one, by a certificate of
// one of members or of a person, or by being here. Failures from one network are bounded: beyond that
// they are told to come later. What is right is let in all the same, as no rate of guesses
// finds 128 bits, and an operator may sit behind the same address as a broken script.
func (e *entry) admit(r *http.Request, members []string, now time.Time) (identity, error) {
	if header := r.Header.Get("Authorization"); header != "" {
		if t, ok := e.find(header); ok {
			return identity{name: t.Name, role: t.Role}, nil
		}
		return identity{}, e.fail(r, now, "the token is not known", "ask with a token of this deployment, as \"Authorization: Bearer TOKEN\"")
	}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		return e.certified(r, members, now)
	}
	if e.open && r.TLS == nil {
		if here(r.Host) && here(r.RemoteAddr) {
			return identity{name: "somebody on this machine", role: Operator}, nil
		}
		return identity{}, e.fail(r, now, "this deployment is open to its own machine alone", "ask for 127.0.0.1")
	}
	return identity{}, e.fail(r, now, "nobody asks", "ask with \"Authorization: Bearer TOKEN\", or a certificate by the deployment's authority")
}

// certified says whose certificate was shown: a member's, or that of a person with a role.
// The handshake has seen that it is by the authority; connections live longer than that.
func (e *entry) certified(r *http.Request, members []string, now time.Time) (identity, error) {
	if name, err := pki.Peer(*r.TLS); err == nil && slices.Contains(members, name) {
		return identity{name: name, role: MemberRole}, nil
	}
	p, err := pki.PersonAt(*r.TLS)
	if err != nil {
		return identity{}, e.fail(r, now, "the certificate is of no member, and of no person", "ask with a token, or the certificate of a member or a person")
	}
	who := identity{name: p.Name, role: map[string]Role{pki.Viewer: Viewer, pki.Operator: Operator}[p.Role], until: pki.Until(*r.TLS)}
	if !now.Before(who.until) {
		return identity{}, e.fail(r, now, "the certificate of "+p.Name+" has ended", "ask with a new one: \"roam pki issue "+p.Name+" --renew\"")
	}
	return who, nil
}

// find returns the token of a header. All are compared, in the same time.
func (e *entry) find(header string) (found Token, ok bool) {
	scheme, token, _ := strings.Cut(header, " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || len(token) < leastToken || len(token) > mostToken {
		return Token{}, false
	}
	hash := sha256.Sum256([]byte(token))
	for _, t := range e.tokens {
		if subtle.ConstantTimeCompare(hash[:], t.SHA256[:]) == 1 {
			found, ok = t, true
		}
	}
	return found, ok
}

func (e *entry) fail(r *http.Request, now time.Time, detail, next string) error {
	if wait := e.failures.take(network(r.RemoteAddr), now); wait > 0 {
		return &Problem{Kind: KindTooMany, Detail: "too many were not let in from there", Next: "mend the token, and ask again later", After: wait}
	}
	return &Problem{Kind: KindUnauthorized, Detail: detail, Next: next}
}

// here reports whether a host, or host and port, is loopback by its own words. A page
// whose name leads to loopback has its own name there.
func here(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = strings.Trim(addr, "[]")
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// network returns where an address is: itself, or of IPv6 the /64, which one host has all of.
func network(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	ip := net.ParseIP(host)
	if ip == nil || ip.To4() != nil {
		return host
	}
	return ip.Mask(net.CIDRMask(64, 128)).String()
}
