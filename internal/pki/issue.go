package pki

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	// PersonDays is how long a person's certificate is good if nothing else is said. It
	// can't be taken back, so its end is what bounds a theft.
	PersonDays = 30
	// MostPersonDays is the longest that one may be good: a year.
	MostPersonDays = 365
	// PeopleDir is the folder within the authority's where certificates of people are, if
	// nothing else is said. No Region's files are there, so a name may be a Region's too.
	PeopleDir = "people"
)

// An Order says which certificate of a person is to be made.
type Order struct {
	Dir    string // the authority's folder
	Out    string // where the certificate and key go; empty: PeopleDir there
	Person Person // without a Role: the one that the certificate has which is renewed
	Days   int    // how long it is good; 0: PersonDays
	Renew  bool   // replace what is there
}

// Issue makes a person's certificate by an authority that is there, good from now, for
// dialling and not for serving. What is there of the same person and role is kept, unless
// it is renewed. It fails with ErrPerson if the name or role can't be, and with ErrFiles
// if half of something is there, or something else, or one that has ended, if the authority
// is not there or can't vouch for people.
func Issue(o Order, now time.Time) (Result, error) {
	if o.Days == 0 {
		o.Days = PersonDays
	}
	if o.Out == "" {
		o.Out = filepath.Join(o.Dir, PeopleDir)
	}
	r := result(o.Out, o.Person.Name)
	if o.Days < 1 || o.Days > MostPersonDays {
		return r, fmt.Errorf("%w: %d days: want 1 to %d", ErrPerson, o.Days, MostPersonDays)
	}
	if err := (Person{o.Person.Name, Viewer}).check(); err != nil { // before it is part of a path
		return r, err
	}
	r, old, put, err := place(o.Out, o.Person.Name, o.Renew)
	if err != nil {
		return r, err
	}
	if old != nil {
		if o.Person.Role, err = roleNow(r, old, o, now); err != nil {
			return r, err
		}
	}
	if err := o.Person.check(); err != nil {
		return r, err
	}
	if r.Role = o.Person.Role; r.What == Kept {
		return r, nil
	}
	ca, err := o.authority(now)
	if err != nil {
		return r, err
	}
	if err := os.MkdirAll(o.Out, 0o700); err != nil {
		return r, fmt.Errorf("make the folder of %s: %w", o.Person.Name, err)
	}
	r.Expires = ca.until(now.AddDate(0, 0, o.Days))
	der, key, err := ca.sign(o.Person.Name, &x509.Certificate{
		Subject:   pkix.Name{CommonName: "Roam " + o.Person.Role + " " + o.Person.Name},
		NotBefore: now.Add(-backdate), NotAfter: r.Expires,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs:        []*url.URL{o.Person.uri()},
	})
	if err != nil {
		return r, err
	}
	return r, write(r, der, key, put)
}

// roleNow returns the role that a certificate is to have in whose place there is one.
func roleNow(r Result, old *x509.Certificate, o Order, now time.Time) (string, error) {
	was, err := OfPerson(old)
	role := o.Person.Role
	if role == "" {
		role = was.Role
	}
	switch {
	case err != nil || was.Name != o.Person.Name:
		return "", fmt.Errorf("%w: %s is there, and not of a person %q: name another folder", ErrFiles, r.Cert, o.Person.Name)
	case r.What == Kept && role != was.Role:
		return "", fmt.Errorf("%w: %s is of a %s: renew it to have it be of another role", ErrFiles, r.Cert, was.Role)
	case r.What == Kept && now.After(old.NotAfter):
		return "", fmt.Errorf("%w: %s has ended: renew it", ErrFiles, r.Cert)
	}
	return role, nil
}

// authority opens one that can vouch for people.
func (o Order) authority(now time.Time) (authority, error) {
	ca, r, err := openAuthority(o.Dir, true, now)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ca, fmt.Errorf(`%w, or make one with "roam pki init"`, err)
	case err != nil:
		return ca, err
	case !slices.Contains(ca.cert.PermittedURIDomains, personHost):
		return ca, fmt.Errorf("%w: the authority of %s can vouch for Regions alone: make a new one in another folder (docs/node.md says how nodes go over to it)",
			ErrFiles, r.Cert)
	case !now.Before(ca.cert.NotAfter):
		return ca, fmt.Errorf("%w: the authority of %s has ended: make a new one in another folder", ErrFiles, r.Cert)
	}
	return ca, ca.needed(o.Dir, o.Person.Name)
}
