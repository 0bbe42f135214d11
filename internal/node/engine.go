package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/topology"
)

var errOpening = errors.New("the engine is being opened")

// maxFileBytes is far above any password, and above the bundle of authorities that a
// system has; what is longer is another file.
const maxFileBytes = 1 << 20

// open opens the engine, as often as it takes; nil if ctx ends before. Files of
// passwords and certificates are read at each try: they may come later too.
func (n *Node) open(ctx context.Context) engine.Engine {
	if n.config.Engine != nil {
		return n.config.Engine
	}
	var e engine.Engine
	n.retry(ctx, "open the engine", n.needs, func() (err error) {
		ctx, cancel := context.WithTimeout(ctx, openTimeout)
		defer cancel()
		e, err = n.openOnce(ctx)
		return err
	})
	return e
}

func (n *Node) openOnce(ctx context.Context) (engine.Engine, error) {
	if m := n.region.Engine.Memory; m != nil {
		// Not returned at once: a nil of its type would be an engine.
		e, err := memory.New(n.region.ID, memory.Config{
			MaxBytes: m.MaxBytes, LogBytes: m.LogBytes, KeepReleased: m.KeepReleased,
			Secondary: !n.deployment.TakesWrites(n.region.Name),
		})
		if err != nil {
			return nil, err
		}
		return e, nil
	}
	c, err := ValkeyConfig(n.region.Engine.Valkey, n.config.Getenv)
	if err != nil {
		return nil, err
	}
	c.Log, c.Replicated = n.config.Log, n.deployment.Pushes()
	e, err := valkey.Open(ctx, n.region.ID, c)
	if err != nil {
		return nil, err
	}
	return e, nil
}

// ValkeyConfig returns how a server is reached that a deployment describes, with what
// the files say that it names, and the environment by getenv.
func ValkeyConfig(v *topology.Valkey, getenv func(string) string) (valkey.Config, error) {
	c := valkey.Config{
		Addrs: v.Addrs, Username: v.Username, Plaintext: v.Plaintext,
		LogBytes: v.LogBytes, KeepReleased: v.KeepReleased,
	}
	switch {
	case v.PasswordFile != "":
		text, err := readSmall(v.PasswordFile)
		if err != nil {
			return c, fmt.Errorf("read the password of the engine: %w", err)
		}
		c.Password = strings.TrimRight(string(text), "\r\n")
	case v.PasswordEnv != "":
		if c.Password = getenv(v.PasswordEnv); c.Password == "" {
			return c, fmt.Errorf("password of the engine: the variable %s is empty or not set", v.PasswordEnv)
		}
	}
	if v.TLS == nil {
		return c, nil
	}
	c.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: v.TLS.ServerName}
	if v.TLS.CA != "" {
		text, err := readSmall(v.TLS.CA)
		if err != nil {
			return c, fmt.Errorf("read the authority of the engine: %w", err)
		}
		c.TLS.RootCAs = x509.NewCertPool()
		if !c.TLS.RootCAs.AppendCertsFromPEM(text) {
			return c, fmt.Errorf("authority of the engine: %s holds no certificate", v.TLS.CA)
		}
	}
	if v.TLS.Cert != "" {
		pair, err := tls.LoadX509KeyPair(v.TLS.Cert, v.TLS.Key)
		if err != nil {
			return c, fmt.Errorf("certificate for the engine: %w", err)
		}
		c.TLS.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // the deployment names it
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
