package pki

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func members(names ...string) []Member {
	var out []Member
	for _, n := range names {
		out = append(out, Member{Region: n, Hosts: []string{"node." + n + ".example", "127.0.0.1"}})
	}
	return out
}

func initialise(t *testing.T, dir string, names ...string) {
	t.Helper()
	if _, err := Init(dir, members(names...), false, time.Now()); err != nil {
		t.Fatalf("Init(%v) = %v, want nil", names, err)
	}
}

func keep(t *testing.T, dir, region string) *Keeper {
	t.Helper()
	k, err := Keep(files(dir, region), region, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("Keep(%s) = %v, want nil", region, err)
	}
	return k
}

func files(dir, region string) Files {
	return Files{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, region+".pem"), Key: filepath.Join(dir, region+".key")}
}

// meet has both ends shake hands and returns what each said, and whom the
// listener met.
func meet(t *testing.T, client, server *tls.Config) (met string, dialled, listened error) {
	t.Helper()
	a, b := net.Pipe()
	defer func() { _, _ = a.Close(), b.Close() }()
	done := make(chan error, 1)
	srv := tls.Server(b, server)
	go func() {
		_ = b.SetDeadline(time.Now().Add(10 * time.Second))
		err := srv.HandshakeContext(t.Context())
		if err == nil {
			_, err = srv.Write([]byte{1})
		}
		_ = b.Close()
		done <- err
	}()
	cl := tls.Client(a, client)
	dialled = cl.HandshakeContext(t.Context())
	if dialled == nil {
		_, dialled = cl.Read(make([]byte, 1)) // in TLS 1.3 a client hears of a refusal only then
	}
	_ = a.Close()
	listened = <-done
	if listened == nil {
		met, listened = Peer(srv.ConnectionState())
	}
	return met, dialled, listened
}

func TestRegionsMeet(t *testing.T) {
	dir := t.TempDir()
	initialise(t, dir, "west", "east", "north")
	west, east := keep(t, dir, "west"), keep(t, dir, "east")
	for _, host := range []string{"node.east.example", "127.0.0.1"} {
		met, dialled, listened := meet(t, west.Client("east", host), east.Server([]string{"west", "north"}))
		if dialled != nil || listened != nil || met != "west" {
			t.Errorf("west dials east at %s: %v, %v, met %q; want west", host, dialled, listened, met)
		}
	}
}

func TestOthersAreRefused(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	initialise(t, dir, "west", "east", "north")
	initialise(t, elsewhere, "west", "east")
	west, east := keep(t, dir, "west"), keep(t, dir, "east")
	strange := keep(t, elsewhere, "west")
	nobody := west.Client("east", "127.0.0.1")
	nobody.Certificates = nil
	old := east.Server([]string{"west"})
	clientOfOld := west.Client("east", "127.0.0.1")
	clientOfOld.MinVersion, clientOfOld.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	for _, c := range []struct {
		name           string
		client, server *tls.Config
	}{
		{"who dials north and meets east", west.Client("north", "127.0.0.1"), east.Server([]string{"west"})},
		{"who dials another host", west.Client("east", "node.north.example"), east.Server([]string{"west"})},
		{"a Region that is no peer", west.Client("east", "127.0.0.1"), east.Server([]string{"north"})},
		{"a certificate of another authority", strange.Client("east", "127.0.0.1"), east.Server([]string{"west"})},
		{"a listener of another authority", west.Client("west", "127.0.0.1"), strange.Server([]string{"west"})},
		{"no certificate", nobody, east.Server([]string{"west"})},
		{"TLS 1.2", clientOfOld, old},
	} {
		_, dialled, listened := meet(t, c.client, c.server)
		if dialled == nil || listened == nil {
			t.Errorf("%s: dialled %v, listened %v; want both refused", c.name, dialled, listened)
		}
	}
}

func TestCertificatesOverTime(t *testing.T) {
	dir := t.TempDir()
	initialise(t, dir, "west", "east")
	west, east := keep(t, dir, "west"), keep(t, dir, "east")
	for _, c := range []struct {
		at   time.Time
		good bool
	}{
		{time.Now().AddDate(0, 13, -1), true}, {time.Now().AddDate(0, 13, 1), false}, {time.Now().Add(-2 * time.Hour), false},
	} {
		client := west.Client("east", "127.0.0.1")
		client.Time = func() time.Time { return c.at }
		_, dialled, _ := meet(t, client, east.Server([]string{"west"}))
		if (dialled == nil) != c.good {
			t.Errorf("at %v: %v, want accepted: %t", c.at, dialled, c.good)
		}
	}
}

func TestNothingIsOverwritten(t *testing.T) {
	dir := t.TempDir()
	initialise(t, dir, "west")
	before, caBefore := read(t, dir, "west.pem"), read(t, dir, "ca.key")
	results, err := Init(dir, members("west", "east"), false, time.Now())
	if err != nil || len(results) != 3 || results[0].What != Kept || results[1].What != Kept || results[2].What != Made {
		t.Errorf("Init again = %+v, %v; want ca and west kept, east made", results, err)
	}
	if !bytes.Equal(before, read(t, dir, "west.pem")) || !bytes.Equal(caBefore, read(t, dir, "ca.key")) {
		t.Error("Init again wrote over what was there")
	}
	for _, name := range []string{"ca.key", "west.key", "east.key"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v; want mode 0600", name, info.Mode(), err)
		}
	}
}

func TestHalvesAreNotMended(t *testing.T) {
	dir := t.TempDir()
	initialise(t, dir, "west")
	for _, half := range []string{"west.key", "west.pem"} {
		saved := read(t, dir, half)
		if err := os.Remove(filepath.Join(dir, half)); err != nil {
			t.Fatal(err)
		}
		if _, err := Init(dir, members("west"), false, time.Now()); !errors.Is(err, ErrFiles) {
			t.Errorf("Init without %s = %v, want ErrFiles", half, err)
		}
		if err := os.WriteFile(filepath.Join(dir, half), saved, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"ca", "../west", "", "a/b"} {
		if _, err := Init(dir, members(name), true, time.Now()); !errors.Is(err, ErrFiles) {
			t.Errorf("Init(%q) = %v, want ErrFiles", name, err)
		}
	}
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A renewal is seen at the next handshake; a half of one changes nothing.
func TestRenewalNeedsNoRestart(t *testing.T) {
	dir := t.TempDir()
	initialise(t, dir, "west", "east")
	var said bytes.Buffer
	west, err := Keep(files(dir, "west"), "west", slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	east := keep(t, dir, "east")
	before := west.Expiry()
	later := time.Now().AddDate(0, 1, 0)
	results, err := Init(dir, []Member{{Region: "west"}}, true, later.Add(-time.Second))
	if err != nil || results[1].What != Renewed {
		t.Fatalf("Init with renew = %+v, %v; want west renewed", results, err)
	}
	if got := west.Expiry(); !got.After(before.AddDate(0, 0, 20)) {
		t.Errorf("Expiry = %v after the renewal, %v before; want a month more", got, before)
	}
	client := west.Client("east", "127.0.0.1")
	client.Time = func() time.Time { return later }
	server := east.Server([]string{"west"}).GetConfigForClient
	config, err := server(nil)
	if err != nil {
		t.Fatal(err)
	}
	config.Time = client.Time
	if met, dialled, listened := meet(t, client, config); dialled != nil || listened != nil || met != "west" {
		t.Errorf("with the new certificate: %v, %v, met %q; want west", dialled, listened, met)
	}
	if hosts := shown(t, dir, "west").Hosts; strings.Join(hosts, " ") != "node.west.example 127.0.0.1" {
		t.Errorf("the renewed certificate is for %q, want the hosts of the old one", hosts)
	}

	good := west.Expiry()
	if err := os.WriteFile(filepath.Join(dir, "west.pem"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if got := west.Expiry(); got != good {
			t.Errorf("with a broken file Expiry = %v, want %v as before", got, good)
		}
	}
	if n := strings.Count(said.String(), "can't be read again"); n != 1 {
		t.Errorf("three looks at a broken file were logged %d times, want once", n)
	}
}

func shown(t *testing.T, dir, name string) Shown {
	t.Helper()
	all, err := Show(dir)
	if err != nil {
		t.Fatalf("Show = %v, want nil", err)
	}
	for _, s := range all {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("Show = %+v, want %s among them", all, name)
	return Shown{}
}

// A node does not start with what is not its own.
func TestKeepRefuses(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	initialise(t, dir, "west", "east")
	initialise(t, elsewhere, "west")
	own := files(dir, "west")
	for name, c := range map[string]struct {
		files Files
		want  error
	}{
		"another Region's":      {files(dir, "east"), ErrIdentity},
		"another authority":     {Files{CA: filepath.Join(elsewhere, "ca.pem"), Cert: own.Cert, Key: own.Key}, ErrFiles},
		"another key":           {Files{CA: own.CA, Cert: own.Cert, Key: filepath.Join(dir, "east.key")}, ErrFiles},
		"no file":               {Files{CA: own.CA, Cert: own.Cert, Key: filepath.Join(dir, "none")}, ErrFiles},
		"the authority's own":   {Files{CA: own.CA, Cert: own.CA, Key: filepath.Join(dir, "ca.key")}, ErrIdentity},
		"a key for certificate": {Files{CA: own.CA, Cert: own.Key, Key: own.Key}, ErrFiles},
	} {
		if _, err := Keep(c.files, "west", slog.New(slog.DiscardHandler)); !errors.Is(err, c.want) {
			t.Errorf("%s: Keep = %v, want %v", name, err, c.want)
		}
	}
}

// The authority can be kept elsewhere: it is needed to make certificates only.
func TestAuthorityKeptElsewhere(t *testing.T) {
	dir := t.TempDir()
	initialise(t, dir, "west")
	if err := os.Remove(filepath.Join(dir, "ca.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := Init(dir, members("west"), false, time.Now()); err != nil {
		t.Errorf("Init with all there = %v, want nil", err)
	}
	for _, renew := range []bool{true, false} {
		if _, err := Init(dir, members("west", "east"), renew, time.Now()); !errors.Is(err, ErrFiles) {
			t.Errorf("Init, renew %t, without the authority's key = %v, want ErrFiles", renew, err)
		}
	}
	if shown(t, dir, "ca").Expires.Before(time.Now().AddDate(9, 11, 0)) {
		t.Error("the authority ends within ten years")
	}
	if _, err := Show(t.TempDir()); !errors.Is(err, ErrFiles) {
		t.Errorf("Show of an empty folder = %v, want ErrFiles", err)
	}
}

// A connection proves something for as long as all of a chain lasts, and one chain is
// enough; who proved nothing never did.
func TestUntil(t *testing.T) {
	at := func(days ...int) (chain []*x509.Certificate) {
		for _, d := range days {
			chain = append(chain, &x509.Certificate{NotAfter: time.Unix(0, 0).AddDate(0, 0, d)})
		}
		return chain
	}
	for _, c := range []struct {
		chains [][]*x509.Certificate
		days   int
	}{
		{[][]*x509.Certificate{at(3, 9)}, 3},
		{[][]*x509.Certificate{at(9, 3)}, 3}, // the authority ends first
		{[][]*x509.Certificate{at(9, 3, 5), at(4)}, 4},
		{[][]*x509.Certificate{at(4), at(9, 3, 5)}, 4},
	} {
		if got, want := Until(tls.ConnectionState{VerifiedChains: c.chains}), at(c.days)[0].NotAfter; !got.Equal(want) {
			t.Errorf("Until(%v) = %v, want day %d", c.chains, got, c.days)
		}
	}
	if got := Until(tls.ConnectionState{}); !got.IsZero() {
		t.Errorf("Until of who proved nothing = %v, want the zero time", got)
	}
}
