package dsql

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/goleak"

	"github.com/roam-sessions/roam/engine/postgres"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const host = "abcdefghijklmnopqrstuvwxyz.dsql.us-east-2.on.aws"

// keys are credentials that are somebody's.
func keys(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret", SessionToken: "session"}, nil
}

func TestTokenSaysWhoAndWhere(t *testing.T) {
	for user, action := range map[string]string{"": "DbConnectAdmin", "admin": "DbConnectAdmin", "shop": "DbConnect"} {
		c := engineOf(t, user)
		token, err := c.Password(t.Context())
		if err != nil {
			t.Fatalf("Password of user %q = %v, want no error", user, err)
		}
		u, err := url.Parse("https://" + token)
		if err != nil || u.Host != host {
			t.Fatalf("token of user %q = %q, %v, want one for %s", user, token, err, host)
		}
		q := u.Query()
		for name, want := range map[string]string{"Action": action, "X-Amz-Expires": "300", "X-Amz-Security-Token": "session"} {
			if got := q.Get(name); got != want {
				t.Errorf("%s in the token of user %q = %q, want %q", name, user, got, want)
			}
		}
		scope := q.Get("X-Amz-Credential")
		if !strings.HasPrefix(scope, "AKID/") || !strings.HasSuffix(scope, "/us-east-2/dsql/aws4_request") {
			t.Errorf("scope of the token of user %q = %q, want dsql in us-east-2", user, scope)
		}
	}
}

func TestDSNSaysWhoAndWhere(t *testing.T) {
	for user, want := range map[string]string{"": "admin", "admin": "admin", "shop": "shop"} {
		c := engineOf(t, user)
		d, err := url.Parse(c.DSN)
		if err != nil {
			t.Fatalf("DSN %q: %v", c.DSN, err)
		}
		if d.Host != host+":5432" || d.Path != "/postgres" || d.Query().Get("sslmode") != "verify-full" || d.User.Username() != want {
			t.Errorf("DSN of user %q = %q, want %s at %s, verified", user, c.DSN, want, host)
		}
	}
}

func engineOf(t *testing.T, user string) postgres.Config {
	t.Helper()
	c, err := Config{Host: host, User: user, Credentials: aws.CredentialsProviderFunc(keys)}.engine(t.Context())
	if err != nil {
		t.Fatalf("engine of user %q = %v, want no error", user, err)
	}
	return c
}

func TestWrongConfigIsRefusedWhole(t *testing.T) {
	_, err := Config{
		Host: "db.example", Engine: postgres.Config{DSN: "x", Plaintext: true, Password: func(context.Context) (string, error) { return "", nil }},
	}.engine(t.Context())
	for _, want := range []string{"Host", "DSN", "Password", "Plaintext"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("engine = %v, want it to speak of %s", err, want)
		}
	}
	if strings.Contains(err.Error(), "us-") {
		t.Errorf("engine = %v, want no Region that nobody named", err)
	}
	for _, c := range []Config{{}, {Host: host, Region: "us-west-2"}, {Host: host, Region: "here"}, {Host: "db.example", Region: "US"}} {
		if _, err := c.engine(t.Context()); err == nil {
			t.Errorf("engine of %+v = no error, want one", c)
		}
	}
	c := Config{Host: "vpce.example", Region: "us-east-1", Credentials: aws.CredentialsProviderFunc(keys)}
	if _, err := c.engine(t.Context()); err != nil {
		t.Errorf("engine of a host with a Region beside it = %v, want no error", err)
	}
}

// Who can't sign can't connect, and says why.
func TestNoCredentials(t *testing.T) {
	why := errors.New("no role")
	c, err := Config{Host: host, Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{}, why
	})}.engine(t.Context())
	if err != nil {
		t.Fatalf("engine = %v, want no error before it connects", err)
	}
	if _, err := c.Password(t.Context()); !errors.Is(err, why) {
		t.Errorf("Password = %v, want %v", err, why)
	}
}
