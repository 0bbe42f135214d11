package valkey

import (
	"crypto/tls"
	"strings"
	"testing"
)

func TestTargets(t *testing.T) {
	c := Config{Targets: []string{".cache.amazonaws.com", "Master.usw1.example.", ".Other.example"}}
	for name, want := range map[string]bool{
		"master.session.abc.usw1.cache.amazonaws.com":  true,
		"MASTER.session.abc.usw1.CACHE.amazonaws.com.": true,
		"master.usw1.example":                          true,
		"a.other.example":                              true,
		"other.example":                                false, // a dot in front: something is below it
		"cache.amazonaws.com":                          false,
		".cache.amazonaws.com":                         false,
		"evilcache.amazonaws.com":                      false,
		"x.cache.amazonaws.com.evil.example":           false,
		"a.master.usw1.example":                        false,
		"":                                             false,
	} {
		if got := c.allows(name); got != want {
			t.Errorf("allows(%q) = %v, want %v", name, got, want)
		}
	}
}

func TestTargetsAreChecked(t *testing.T) {
	secure := &tls.Config{MinVersion: tls.VersionTLS12}
	for what, c := range map[string]Config{
		"without TLS":    {Targets: []string{".cache.amazonaws.com"}},
		"with one name":  {Targets: []string{".cache.amazonaws.com"}, TLS: &tls.Config{MinVersion: tls.VersionTLS12, ServerName: "x.example"}},
		"a wildcard":     {Targets: []string{"*.cache.amazonaws.com"}, TLS: secure},
		"a whole domain": {Targets: []string{".com"}, TLS: secure},
		"everything":     {Targets: []string{"."}, TLS: secure},
		"an address":     {Targets: []string{"a.example:6379"}, TLS: secure},
		"nothing":        {Targets: []string{""}, TLS: secure},
	} {
		c.Addrs = []string{"127.0.0.1:6379"}
		if err := c.withDefaults().check(1); err == nil || !strings.Contains(strings.ToLower(err.Error()), "target") {
			t.Errorf("%s: check = %v, want a fault of Targets", what, err)
		}
	}
	good := Config{Addrs: []string{"write.session.internal:6379"}, TLS: secure, Targets: ElastiCacheNames()}
	if err := good.withDefaults().check(1); err != nil {
		t.Errorf("check = %v", err)
	}
}

// What a server is to have a certificate of, without asking anybody.
func TestServerName(t *testing.T) {
	targets := []string{".cache.amazonaws.com"}
	for what, c := range map[string]struct {
		config     Config
		host, want string
	}{
		"as before":       {Config{TLS: &tls.Config{MinVersion: tls.VersionTLS12}}, "a.example", "a.example"},
		"one for all":     {Config{TLS: &tls.Config{MinVersion: tls.VersionTLS12, ServerName: "b.example"}}, "a.example", "b.example"},
		"a target itself": {Config{Targets: targets}, "m.cache.amazonaws.com", "m.cache.amazonaws.com"},
		"an address":      {Config{Targets: targets}, "10.0.0.1", "10.0.0.1"},
	} {
		if got, err := c.config.ServerName(t.Context(), c.host); err != nil || got != c.want {
			t.Errorf("%s: ServerName(%q) = %q, %v, want %q", what, c.host, got, err, c.want)
		}
	}
}
