package dsql

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/dsql/auth"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine/postgres"
)

// A Config says which cluster, and who connects. Only Host is required.
type Config struct {
	// Host is the cluster's endpoint in this Region:
	// <identifier>.dsql.<AWS Region>.on.aws.
	Host string
	// Region is the AWS Region of the endpoint. Default: as Host says.
	Region string
	// User is the database role. Default "admin", which may do everything and takes
	// dsql:DbConnectAdmin; others take dsql:DbConnect, and the right to be that role.
	User string
	// Credentials sign the tokens. Default: as the AWS SDK finds them, in the environment,
	// its files or from the machine's role.
	Credentials aws.CredentialsProvider
	// Engine is for the rest. Its DSN and Password are made of what stands above.
	Engine postgres.Config
}

const (
	admin = "admin"
	port  = "5432"
	// tokenLife is how long a token is good to connect with. One is made for each
	// connection, which takes no time and asks nobody; the connection outlives it.
	tokenLife = 5 * time.Minute
)

// endpoint is what the name of a cluster looks like.
var endpoint = regexp.MustCompile(`^[a-z0-9]{26}\.dsql\.([a-z]{2}(?:-[a-z]+)+-\d)\.on\.aws$`)

// regionName is what the name of an AWS Region looks like.
var regionName = regexp.MustCompile(`^[a-z]{2}(?:-[a-z]+)+-\d$`)

// Open connects to the cluster and returns the engine of the Region here. It fails with
// all that is wrong with c, and as postgres.OpenDSQL does. Close it.
func Open(ctx context.Context, here crdt.Region, c Config) (*postgres.DSQL, error) {
	engine, err := c.engine(ctx)
	if err != nil {
		return nil, fmt.Errorf("dsql: %w", err)
	}
	return postgres.OpenDSQL(ctx, here, engine)
}

// Migrate makes the schema, or brings it up to date, as User, who must own it.
func Migrate(ctx context.Context, c Config) error {
	engine, err := c.engine(ctx)
	if err != nil {
		return fmt.Errorf("dsql: %w", err)
	}
	return postgres.MigrateDSQL(ctx, engine)
}

// Examine asks the cluster, and changes nothing there, as postgres.ExamineDSQL does.
func Examine(ctx context.Context, c Config) (postgres.Server, error) {
	engine, err := c.engine(ctx)
	if err != nil {
		return postgres.Server{}, fmt.Errorf("dsql: %w", err)
	}
	return postgres.ExamineDSQL(ctx, engine)
}

// engine returns the configuration of the engine.
func (c Config) engine(ctx context.Context) (postgres.Config, error) {
	if c.User == "" {
		c.User = admin
	}
	if m := endpoint.FindStringSubmatch(c.Host); m != nil && c.Region == "" {
		c.Region = m[1]
	}
	if err := c.check(); err != nil {
		return postgres.Config{}, err
	}
	if c.Credentials == nil {
		found, err := config.LoadDefaultConfig(ctx, config.WithRegion(c.Region))
		if err != nil {
			return postgres.Config{}, fmt.Errorf("look for AWS credentials: %w", err)
		}
		c.Credentials = found.Credentials
	}
	out := c.Engine
	u := url.URL{
		Scheme: "postgres", User: url.User(c.User), Host: net.JoinHostPort(c.Host, port), Path: "/postgres",
		RawQuery: "sslmode=verify-full",
	}
	out.DSN, out.Password = u.String(), c.token
	return out, nil
}

// check returns all that is wrong with c, which has its defaults.
func (c Config) check() error {
	var faults []error
	fault := func(is bool, format string, args ...any) {
		if is {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	m := endpoint.FindStringSubmatch(c.Host)
	fault(m == nil && c.Region == "", "Host %q: want <identifier>.dsql.<AWS Region>.on.aws, or Region beside it", c.Host)
	fault(c.Host == "", "Host is empty")
	fault(c.Region != "" && !regionName.MatchString(c.Region), "Region %q is none of AWS", c.Region)
	fault(m != nil && c.Region != m[1], "Region %q: Host is in %s", c.Region, first(m))
	fault(c.Engine.DSN != "", "Engine.DSN: it is made of Host and User")
	fault(c.Engine.Password != nil, "Engine.Password: it is a token")
	fault(c.Engine.Plaintext, "Engine.Plaintext: DSQL speaks TLS only")
	return errors.Join(faults...)
}

// first returns what the first group of a match is.
func first(m []string) string {
	if len(m) < 2 {
		return ""
	}
	return m[1]
}

// token returns what a connection that is made now has for a password.
func (c Config) token(ctx context.Context) (string, error) {
	sign := auth.GenerateDbConnectAuthToken
	if c.User == admin {
		sign = auth.GenerateDBConnectAdminAuthToken
	}
	token, err := sign(ctx, c.Host, c.Region, c.Credentials, func(o *auth.TokenOptions) { o.ExpiresIn = tokenLife })
	if err != nil {
		return "", fmt.Errorf("sign a token for %s: %w", c.Host, err)
	}
	return token, nil
}
