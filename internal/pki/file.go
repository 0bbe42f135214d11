package pki

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// maxFileBytes is far above a chain of certificates.
const maxFileBytes = 1 << 20

// readFile reads a small file.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // an operator named it
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was read only
	b, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err == nil && len(b) > maxFileBytes {
		err = fmt.Errorf("%s has more than %d bytes", path, maxFileBytes)
	}
	return b, err
}

func readBlock(path, kind string) ([]byte, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("%w: %s holds no %s", ErrFiles, path, strings.ToLower(kind))
	}
	return block.Bytes, nil
}

const (
	certBlock = "CERTIFICATE"
	keyBlock  = "PRIVATE KEY"
)

func readCert(path string) (*x509.Certificate, error) {
	der, err := readBlock(path, certBlock)
	if err != nil {
		return nil, err
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrFiles, path, err)
	}
	return c, nil
}

func readKey(path string) (*ecdsa.PrivateKey, error) {
	der, err := readBlock(path, keyBlock)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrFiles, path, err)
	}
	private, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%w: %s is a key of another kind", ErrFiles, path)
	}
	return private, nil
}

// A putting is how a file is put where it belongs: create or replace.
type putting func(path string, text []byte, mode fs.FileMode) error

// write writes a key, then its certificate: a node that reads between the two sees
// that they do not belong together, and reads again.
func write(r Result, der []byte, key *ecdsa.PrivateKey, put putting) error {
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode the key of %s: %w", r.Name, err)
	}
	if err := put(r.Key, pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: secret}), 0o600); err != nil {
		return fmt.Errorf("write the key of %s: %w", r.Name, err)
	}
	if err := put(r.Cert, pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: der}), 0o644); err != nil {
		return fmt.Errorf("write the certificate of %s: %w", r.Name, err)
	}
	return nil
}

// create writes a file that must not be there.
func create(path string, text []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode) //nolint:gosec // an operator named it
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// replace puts a whole file in place of one, in one step.
func replace(path string, text []byte, mode fs.FileMode) error {
	next := path + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // of a renewal that was cut short
	}
	if err := create(next, text, mode); err != nil {
		return err
	}
	return os.Rename(next, path)
}

// A Shown is what a certificate in a folder says of itself.
type Shown struct {
	Name    string    `json:"name"`           // of the Region, witness or person, or "ca"
	Role    string    `json:"role,omitempty"` // of a person
	Path    string    `json:"path"`
	Hosts   []string  `json:"hosts"`
	Expires time.Time `json:"expires"`
}

// Show returns the certificates of a folder by file name, then those of people within it. It
// fails with ErrFiles if one is broken or there is none, and with ErrIdentity if one is
// neither of a Region nor of a person.
func Show(dir string) ([]Shown, error) {
	var paths []string
	for _, folder := range []string{dir, filepath.Join(dir, PeopleDir)} {
		more, err := filepath.Glob(filepath.Join(folder, "*"+certExt))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFiles, err)
		}
		paths = append(paths, more...)
	}
	var out []Shown
	for _, path := range paths {
		s, err := show(path)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf(`%w: no certificates in %s: "roam pki init" makes them`, ErrFiles, dir)
	}
	return out, nil
}

func show(path string) (Shown, error) {
	c, err := readCert(path)
	if err != nil {
		return Shown{}, err
	}
	s := Shown{Name: caName, Path: path, Hosts: append([]string{}, c.DNSNames...), Expires: c.NotAfter}
	for _, ip := range c.IPAddresses {
		s.Hosts = append(s.Hosts, ip.String())
	}
	if c.IsCA {
		return s, nil
	}
	if p, err := OfPerson(c); err == nil {
		s.Name, s.Role = p.Name, p.Role
		return s, nil
	}
	if s.Name, err = Region(c); err != nil {
		return s, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}
