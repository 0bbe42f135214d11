package pki

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// issue makes a person's certificate in the folder of its authority.
func issue(t *testing.T, dir, name, role string) Result {
	t.Helper()
	r, err := Issue(Order{Dir: dir, Person: Person{name, role}}, time.Now())
	if err != nil {
		t.Fatalf("Issue(%s, %s) = %v, want nil", name, role, err)
	}
	return r
}

// shows returns a client that believes an authority, and shows a certificate.
func shows(t *testing.T, dir string, r Result) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(r.Cert, r.Key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(read(t, dir, "ca.pem"))
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, ServerName: "127.0.0.1", Certificates: []tls.Certificate{pair}}
}

func TestIssue(t *testing.T) {
	dir := t.TempDir()
	initialise(t, dir, "west")
	now := time.Now()
	r := issue(t, dir, "alice", Operator)
	c, err := readCert(r.Cert)
	if err != nil {
		t.Fatal(err)
	}
	p, err := OfPerson(c)
	if err != nil || p != (Person{"alice", Operator}) || r.What != Made || r.Role != Operator {
		t.Errorf("OfPerson = %+v, %v after %+v; want alice, an operator", p, err, r)
	}
	if r.Cert != filepath.Join(dir, PeopleDir, "alice.pem") || !r.Expires.Round(time.Hour).Equal(now.AddDate(0, 0, PersonDays).Round(time.Hour)) {
		t.Errorf("Issue = %+v, want a certificate among people, for %d days", r, PersonDays)
	}
	if !slices.Equal(c.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) || c.IsCA || len(c.DNSNames)+len(c.IPAddresses) > 0 {
		t.Errorf("it is for %v, of hosts %q %v; want for clients alone", c.ExtKeyUsage, c.DNSNames, c.IPAddresses)
	}
	if info, err := os.Stat(r.Key); err != nil || info.Mode() != 0o600 {
		t.Errorf("the key: %v, %v; want mode 0600", info, err)
	}
	if s := shown(t, dir, "alice"); s.Role != Operator || len(s.Hosts) > 0 {
		t.Errorf("Show = %+v, want an operator without hosts", s)
	}
}

// What is there is kept, or refused if it is not what is asked for; only a renewal replaces.
func TestIssueOverwritesNothing(t *testing.T) {
	dir := t.TempDir()
	initialise(t, dir, "west")
	r := issue(t, dir, "alice", Viewer)
	order := func(change func(*Order)) Order {
		o := Order{Dir: dir, Person: Person{"alice", Viewer}}
		change(&o)
		return o
	}
	before := read(t, dir, "people/alice.pem")
	month := 31 * 24 * time.Hour
	for name, c := range map[string]struct {
		order Order
		after time.Duration
		want  error
	}{
		"again":                              {order(func(*Order) {}), 0, nil},
		"of another role":                    {order(func(o *Order) { o.Person.Role = Operator }), 0, ErrFiles},
		"when it has ended":                  {order(func(*Order) {}), month, ErrFiles},
		"of no role":                         {order(func(o *Order) { o.Person = Person{Name: "bob"} }), 0, ErrPerson},
		"of a role that there is none of":    {order(func(o *Order) { o.Person = Person{"bob", "root"} }), 0, ErrPerson},
		"outside the folder":                 {order(func(o *Order) { o.Person.Name = "../west" }), 0, ErrPerson},
		"the authority's":                    {order(func(o *Order) { o.Out, o.Person.Name, o.Renew = dir, "ca", true }), 0, ErrPerson},
		"a Region's":                         {order(func(o *Order) { o.Out, o.Person.Name = dir, "west" }), 0, ErrFiles},
		"a Region's, renewed":                {order(func(o *Order) { o.Out, o.Person.Name, o.Renew = dir, "west", true }), 0, ErrFiles},
		"for more than a year":               {order(func(o *Order) { o.Days, o.Renew = MostPersonDays+1, true }), 0, ErrPerson},
		"for less than a day":                {order(func(o *Order) { o.Days, o.Renew = -1, true }), 0, ErrPerson},
		"renewed when the authority's ended": {order(func(o *Order) { o.Renew = true }), 10*366*24*time.Hour + month, ErrFiles},
		"by an authority that is not there":  {order(func(o *Order) { o.Dir = filepath.Join(dir, "none") }), 0, os.ErrNotExist},
	} {
		if _, err := Issue(c.order, time.Now().Add(c.after)); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: Issue = %v, want %v", name, err, c.want)
		}
		if !bytes.Equal(before, read(t, dir, "people/alice.pem")) {
			t.Fatalf("%s: it wrote over what was there", name)
		}
	}
	got, err := Issue(Order{Dir: dir, Person: Person{Name: "alice"}, Days: MostPersonDays, Renew: true}, time.Now())
	if err != nil || got.What != Renewed || got.Role != Viewer || !got.Expires.After(r.Expires.AddDate(0, 10, 0)) {
		t.Errorf("Issue with renew = %+v, %v; want a viewer's, for a year", got, err)
	}
}

// Half of a certificate is not mended, and no Region's takes the place of a person's.
func TestNobodyTakesAPlace(t *testing.T) {
	both := t.TempDir()
	initialise(t, both, "west")
	r := issue(t, both, "alice", Viewer)
	if err := os.Remove(r.Key); err != nil {
		t.Fatal(err)
	}
	if _, err := Issue(Order{Dir: both, Person: Person{"alice", Viewer}}, time.Now()); !errors.Is(err, ErrFiles) {
		t.Errorf("Issue beside half of one = %v, want ErrFiles", err)
	}
	if _, err := Issue(Order{Dir: both, Out: both, Person: Person{"east", Viewer}}, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, renew := range []bool{false, true} {
		if _, err := Init(both, members("east"), renew, time.Now()); !errors.Is(err, ErrFiles) {
			t.Errorf("Init, renew %t, of a Region where a person's is = %v, want ErrFiles", renew, err)
		}
	}
}

// Doors between nodes open for nobody's own certificate, and the admin API's for that alone
// which is good.
func TestDoors(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	initialise(t, dir, "west", "east")
	initialise(t, elsewhere, "west")
	east := keep(t, dir, "east")
	old, err := Issue(Order{Dir: dir, Person: Person{"old", Operator}}, time.Now().AddDate(0, 0, -PersonDays-1))
	if err != nil {
		t.Fatal(err)
	}
	west := result(dir, "west")
	for _, c := range []struct {
		name      string
		shown     Result
		link, api bool
		who       Person // what the API reads, of a person
	}{
		{"a member", west, true, true, Person{}},
		{"a viewer", issue(t, dir, "alice", Viewer), false, true, Person{"alice", Viewer}},
		{"an operator with a member's name", issue(t, dir, "west", Operator), false, true, Person{"west", Operator}},
		{"an operator whose certificate has ended", old, false, false, Person{}},
		{"an operator by another authority", issue(t, elsewhere, "alice", Operator), false, false, Person{}},
		{"a member by another authority", result(elsewhere, "west"), false, false, Person{}},
		{"the authority", result(dir, "ca"), false, true, Person{}},
	} {
		_, dialled, listened := meet(t, shows(t, dir, c.shown), east.Server([]string{"west"}))
		if open := dialled == nil && listened == nil; open != c.link {
			t.Errorf("%s at a link: dialled %v, listened %v; want let in: %t", c.name, dialled, listened, c.link)
		}
		var who Person
		api := east.API()
		config, err := api.GetConfigForClient(nil)
		if err != nil {
			t.Fatal(err)
		}
		config.VerifyConnection = func(s tls.ConnectionState) error {
			who, _ = PersonAt(s)
			return nil
		}
		if _, dialled, _ := meet(t, shows(t, dir, c.shown), config); (dialled == nil) != c.api || who != c.who {
			t.Errorf("%s at the API: dialled %v, read as %+v; want let in: %t, %+v", c.name, dialled, who, c.api, c.who)
		}
		// Who dials a Region talks to nobody who shows this.
		if c.shown.Cert == west.Cert {
			continue
		}
		serving := shows(t, dir, c.shown)
		serving.SessionTicketsDisabled, serving.ClientAuth = true, tls.RequireAnyClientCert // as members do
		if _, dialled, _ := meet(t, east.Client("west", "127.0.0.1"), serving); dialled == nil {
			t.Errorf("%s in the place of west: dialled, want refused", c.name)
		}
	}
}

// No node runs by a person's certificate, and nobody is who has proved nothing.
func TestPeopleRunNoNode(t *testing.T) {
	dir := t.TempDir()
	initialise(t, dir, "west")
	p := issue(t, dir, "west", Operator)
	if _, err := Keep(Files{CA: filepath.Join(dir, "ca.pem"), Cert: p.Cert, Key: p.Key}, "west", slog.New(slog.DiscardHandler)); !errors.Is(err, ErrIdentity) {
		t.Errorf("Keep of a person's certificate = %v, want ErrIdentity", err)
	}
	shown, err := readCert(p.Cert)
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]tls.ConnectionState{"nothing": {}, "what nobody verified": {PeerCertificates: []*x509.Certificate{shown}}} {
		if who, err := PersonAt(s); !errors.Is(err, ErrPerson) {
			t.Errorf("PersonAt of who shows %s = %+v, %v; want ErrPerson", name, who, err)
		}
	}
}

// An authority that was made before there were people can't vouch for them.
func TestOldAuthority(t *testing.T) {
	dir := t.TempDir()
	initialise(t, dir, "west")
	ca, _, err := openAuthority(dir, false, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	template := *ca.cert
	template.PermittedURIDomains = []string{uriHost}
	old := authority{&template, ca.key}
	der, err := x509.CreateCertificate(bytes.NewReader(make([]byte, 64)), &template, &template, &ca.key.PublicKey, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	if old.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	if err := write(result(dir, caName), der, ca.key, replace); err != nil {
		t.Fatal(err)
	}
	if _, err := Issue(Order{Dir: dir, Person: Person{"alice", Viewer}}, time.Now()); !errors.Is(err, ErrFiles) || !strings.Contains(err.Error(), "Regions alone") {
		t.Errorf("Issue by it = %v, want ErrFiles that says why", err)
	}
	west := result(dir, "west")
	east := keep(t, dir, "west")
	if _, dialled, listened := meet(t, shows(t, dir, west), east.Server([]string{"west"})); dialled != nil || listened != nil {
		t.Errorf("a Region's certificate by it: %v, %v; want nil", dialled, listened)
	}
	leaf, key, err := old.sign("alice", &x509.Certificate{
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, URIs: []*url.URL{Person{"alice", Operator}.uri()},
	})
	if err != nil {
		t.Fatal(err)
	}
	forged := result(dir, "forged")
	if err := write(forged, leaf, key, create); err != nil {
		t.Fatal(err)
	}
	if _, dialled, _ := meet(t, shows(t, dir, forged), east.API()); dialled == nil {
		t.Error("a person's certificate that it signed all the same is believed")
	}
}

// Nodes go over to a new authority one file at a time: while both are in ca.pem, either is
// believed, and whoever has a certificate by the old one is nobody when that is taken out.
func TestAuthorityIsReplaced(t *testing.T) {
	was, next := t.TempDir(), t.TempDir()
	initialise(t, was, "west", "east")
	initialise(t, next, "west", "east")
	thief := shows(t, was, issue(t, was, "alice", Operator))
	west, east := keep(t, was, "west"), keep(t, was, "east")
	put := func(name string, text []byte) {
		t.Helper()
		if err := replace(filepath.Join(was, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	links := func(when string) {
		t.Helper()
		if met, dialled, listened := meet(t, west.Client("east", "127.0.0.1"), east.Server([]string{"west"})); met != "west" {
			t.Errorf("%s: west dials east: %v, %v", when, dialled, listened)
		}
	}
	both := append(read(t, was, "ca.pem"), read(t, next, "ca.pem")...)
	put("ca.pem", both)
	links("with both authorities")
	for _, name := range []string{"west.key", "west.pem"} {
		put(name, read(t, next, name))
	}
	links("when west has gone over")
	for _, name := range []string{"east.key", "east.pem"} {
		put(name, read(t, next, name))
	}
	links("when both have")
	thief.RootCAs.AppendCertsFromPEM(both)
	if _, dialled, _ := meet(t, thief, east.API()); dialled != nil {
		t.Errorf("by the old one, while both are there: %v, want nil", dialled)
	}
	put("ca.pem", read(t, next, "ca.pem"))
	links("when the old one is gone")
	if _, dialled, _ := meet(t, thief, east.API()); dialled == nil {
		t.Error("by the old one, when it is gone: let in, want refused")
	}
}

// Whatever a certificate's URIs say, it is of a Region, or of a person, or of nobody; and
// it is one's who would have been given just that.
func FuzzURIs(f *testing.F) {
	f.Add("roam://region/west", "")
	f.Add("roam://person/operator/alice", "")
	f.Add("roam://person/viewer/alice", "roam://region/west")
	f.Add("roam://region/operator/alice", "")
	f.Add("roam://person/root/alice", "")
	f.Add("roam://person/operator/alice/more", "")
	f.Add("roam://person/operator/%61lice", "")
	f.Add("roam://person/operator/alice?x", "")
	f.Add("roam://person/operator/alice#x", "")
	f.Add("roam://me@person/operator/alice", "")
	f.Add("roam://person:1/operator/alice", "")
	f.Add("ROAM://person/operator/Alice", "")
	f.Add("roam:person/operator/alice", "")
	f.Add("roam://person//alice", "")
	f.Add("roam://person/operator/", "")
	f.Fuzz(func(t *testing.T, one, two string) {
		c := &x509.Certificate{}
		for _, raw := range []string{one, two} {
			if raw == "" {
				continue
			}
			u, err := url.Parse(raw)
			if err != nil {
				return // x509 refuses such a certificate
			}
			c.URIs = append(c.URIs, u)
		}
		region, noRegion := Region(c)
		p, nobody := OfPerson(c)
		if noRegion == nil && nobody == nil {
			t.Fatalf("%q: of %q and of %+v", c.URIs, region, p)
		}
		if (nobody == nil) != (p != Person{}) || nobody != nil && !errors.Is(nobody, ErrPerson) {
			t.Errorf("OfPerson(%q) = %+v, %v", c.URIs, p, nobody)
		}
		if nobody == nil && (p.check() != nil || len(c.URIs) != 1 || p.uri().String() != c.URIs[0].String()) {
			t.Errorf("OfPerson(%q) = %+v, whose URI is %s", c.URIs, p, p.uri())
		}
	})
}
