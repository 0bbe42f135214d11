package dynamo

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"regexp"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/roam-sessions/roam/crdt"
)

// A Config is what an Engine may be told. Table and Region are required.
type Config struct {
	// Table is the name of the table, the same in all Regions, or its ARN.
	Table string
	// Region is the one whose copy of the table is used, as AWS calls it: us-west-2.
	Region string
	// Strong says that all Regions may write one item, and the last of two writers is
	// refused: the table is a Global Table of strong consistency, or is in one Region and
	// stays there. Of a table of eventual consistency it would lose logouts, so Open
	// refuses it there. Default false: each Region writes items of its own, which is right
	// for every table.
	Strong bool
	// Credentials are who signs requests. Default: as the AWS SDK finds them, in the
	// environment, shared files, or from the machine's role.
	Credentials aws.CredentialsProvider
	// Endpoint is the URL of the service. Default: AWS's own for the Region.
	Endpoint string
	// TLS, if set, is used for every connection to an https endpoint.
	TLS *tls.Config
	// Plaintext says that the network may see all that is sent to an http endpoint that
	// is not of this machine. Default false.
	Plaintext bool
	// Connections bounds those that are open at a time; who needs one more waits, within
	// its context. Default 64.
	Connections int
	// Clock is what writes are stamped by. Default time.Now.
	Clock func() time.Time
	// Log is told what nobody asked for, such as what could be set up better at the
	// table. Default: discarded.
	Log *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Connections == 0 {
		c.Connections = 64
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

var (
	awsRegion = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$`)
	tableName = regexp.MustCompile(`^[A-Za-z0-9_.-]{3,255}$`)
	tableARN  = regexp.MustCompile(`^arn:aws[a-z-]*:dynamodb:([a-z0-9-]+):[0-9]{12}:table/[A-Za-z0-9_.-]{3,255}$`)
)

// check returns all that is wrong with c.
func (c Config) check(here crdt.Region) error {
	var faults []error
	fault := func(is bool, format string, args ...any) {
		if is {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(!here.Valid(), "region %d: want 1 to %d", here, crdt.MaxRegion)
	arn := tableARN.FindStringSubmatch(c.Table)
	fault(arn == nil && !tableName.MatchString(c.Table), "Table %q: want 3 to 255 of a-z, A-Z, 0-9, _, . and -, or the ARN of one", c.Table)
	fault(arn != nil && arn[1] != c.Region, "Table %q is not in Region %q", c.Table, c.Region)
	fault(!awsRegion.MatchString(c.Region), "Region %q: want one of AWS's, such as us-west-2", c.Region)
	fault(c.Connections < 1, "Connections %d: want 1 or more", c.Connections)
	if c.Endpoint != "" {
		if err := c.checkEndpoint(); err != nil {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

func (c Config) checkEndpoint() error {
	u, err := url.Parse(c.Endpoint)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("endpoint %q: want http:// or https:// and a host", c.Endpoint)
	case u.Scheme == "http" && !c.Plaintext && !isLoopback(u.Hostname()):
		return fmt.Errorf("endpoint %q is not of this machine: use https, or set Plaintext if the network is trusted", c.Endpoint)
	}
	return nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
