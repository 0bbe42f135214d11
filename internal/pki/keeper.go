package pki

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"
)

// Files are the paths of what a node needs.
type Files struct {
	CA, Cert, Key string
}

// A Keeper keeps a node's certificate and its authority's, and reads them again
// when a file has changed: at the next handshake, and not before. Links that there
// are stay as they are. While the files are broken, as between two of them being
// replaced, it goes on with what it had. It may be used by many goroutines.
type Keeper struct {
	files  Files
	region string
	log    *slog.Logger

	mu   sync.Mutex // guards what follows; files are read under it, by one handshake at a time
	seen [3]os.FileInfo
	pair tls.Certificate
	pool *x509.CertPool
	said string // the last failure that was logged
}

// Keep reads the files of a Region's node. It fails with ErrFiles if one can't be
// read, or they do not belong together, and with ErrIdentity if the certificate is
// of another Region. Log is told when files are read again, or can't be.
func Keep(files Files, region string, log *slog.Logger) (*Keeper, error) {
	k := &Keeper{files: files, region: region, log: log}
	if err := k.load(); err != nil {
		return nil, err
	}
	return k, nil
}

// Expiry returns when the certificate ends.
func (k *Keeper) Expiry() time.Time {
	pair, _ := k.current()
	return pair.Leaf.NotAfter
}

// Client returns how a node of Region peer is dialled that is reached at host. Its
// certificate must be by the authority, for that host, and of that Region.
func (k *Keeper) Client(peer, host string) *tls.Config {
	pair, pool := k.current()
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, RootCAs: pool, ServerName: host,
		VerifyConnection: func(s tls.ConnectionState) error { return isOne(s, []string{peer}) },
	}
}

// Server returns how nodes of peers are listened to. Each must have a certificate
// by the authority, of one of those Regions.
func (k *Keeper) Server(peers []string) *tls.Config {
	peers = slices.Clone(peers)
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			pair, pool := k.current()
			return &tls.Config{
				MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair},
				ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
				SessionTicketsDisabled: true, // each link proves itself anew
				VerifyConnection:       func(s tls.ConnectionState) error { return isOne(s, peers) },
			}, nil
		},
	}
}

// API returns how an admin API is listened to: with this member's certificate. Who has
// one by the authority shows it, and others prove who they are by other means.
func (k *Keeper) API() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			pair, pool := k.current()
			return &tls.Config{
				MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair},
				ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool, SessionTicketsDisabled: true,
				NextProtos: []string{"http/1.1"}, // streams of the feed are few, and simple
			}, nil
		},
	}
}

func isOne(s tls.ConnectionState, peers []string) error {
	region, err := Peer(s)
	if err == nil && !slices.Contains(peers, region) {
		err = fmt.Errorf("%w: it is of %q, want %q", ErrIdentity, region, peers)
	}
	return err
}

// current returns what is in the files, or was when they were last whole.
func (k *Keeper) current() (tls.Certificate, *x509.CertPool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.changed() {
		err := k.load()
		switch {
		case err == nil:
			k.said = ""
			k.log.Info("certificate read again", "expires", k.pair.Leaf.NotAfter)
		case err.Error() != k.said: // else every handshake would say so
			k.said = err.Error()
			k.log.Warn("certificate can't be read again: going on with the old one", "err", err)
		}
	}
	return k.pair, k.pool
}

func (k *Keeper) paths() []string { return []string{k.files.CA, k.files.Cert, k.files.Key} }

// changed reports whether a file is another one than was read.
func (k *Keeper) changed() bool {
	for i, path := range k.paths() {
		now, err := os.Stat(path)
		was := k.seen[i]
		if err != nil || !os.SameFile(now, was) || now.Size() != was.Size() || !now.ModTime().Equal(was.ModTime()) {
			return true
		}
	}
	return false
}

// load reads the files, and takes nothing of them unless all is well.
func (k *Keeper) load() error {
	var seen [3]os.FileInfo
	var text [3][]byte
	for i, path := range k.paths() {
		var err error
		if seen[i], err = os.Stat(path); err == nil { // before it is read: a later change is seen
			text[i], err = readFile(path)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrFiles, err)
		}
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text[0]) {
		return fmt.Errorf("%w: %s holds no certificate", ErrFiles, k.files.CA)
	}
	pair, err := tls.X509KeyPair(text[1], text[2])
	if err != nil {
		return fmt.Errorf("%w: %s and %s: %w", ErrFiles, k.files.Cert, k.files.Key, err)
	}
	if pair.Leaf == nil {
		return fmt.Errorf("%w: %s holds no certificate", ErrFiles, k.files.Cert)
	}
	// At whatever time it is: a clock that is wrong now may be right at the handshake.
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{
		Roots: pool, CurrentTime: pair.Leaf.NotAfter, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}); err != nil {
		return fmt.Errorf("%w: %s is not by %s: %w", ErrFiles, k.files.Cert, k.files.CA, err)
	}
	if region, err := Region(pair.Leaf); err != nil || region != k.region {
		return fmt.Errorf("%w: %s is of %q, want %q", ErrIdentity, k.files.Cert, region, k.region)
	}
	k.seen, k.pair, k.pool = seen, pair, pool
	return nil
}
