package opener

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/topology"
)

const (
	// maxFileBytes is far above any password, and above the bundle of authorities that
	// a system has; what is longer is another file.
	maxFileBytes = 1 << 20
	// maxDeploymentBytes is above what topology.Parse takes: it says so then.
	maxDeploymentBytes = 2 << 20
)

// ReadFile reads a deployment from its file, with paths as seen from here. It fails
// with topology.Faults if the file has some, or as os.Open does.
func ReadFile(path string) (topology.Deployment, error) {
	f, err := os.Open(path) //nolint:gosec // who deploys names it
	if err != nil {
		return topology.Deployment{}, err
	}
	defer func() { _ = f.Close() }() // it was read only
	text, err := io.ReadAll(io.LimitReader(f, maxDeploymentBytes))
	if err != nil {
		return topology.Deployment{}, err
	}
	d, err := topology.Parse(text)
	if err != nil {
		return topology.Deployment{}, err
	}
	return d.Under(filepath.Dir(path)), nil
}

// ValkeyConfig returns how a server is reached that a deployment describes, with what
// the files say that it names, and the environment by getenv.
func ValkeyConfig(v *topology.Valkey, getenv func(string) string) (valkey.Config, error) {
	c := valkey.Config{
		Addrs: v.Addrs, Username: v.Username, Plaintext: v.Plaintext,
		LogBytes: v.LogBytes, KeepReleased: v.KeepReleased, KeepLog: v.KeepLog,
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
	c.Targets = v.TLS.Targets
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
