package check

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	client "github.com/valkey-io/valkey-go"

	"github.com/roam-sessions/roam/engine/valkey"
)

const (
	// behindPatience is how long a replica may take to have what its primary had: twice
	// what is warned of.
	behindPatience = 2 * behindWarning
	// behindPoll is how often it is looked at until it has: what is found out is so much
	// too old.
	behindPoll = 5 * time.Millisecond
	// askTimeout bounds one connection and one answer.
	askTimeout = time.Second
)

// measureAll measures all distances at once.
func measureAll(ctx context.Context, pairs []pair) []distance {
	type look struct {
		pair
		found distance
	}
	var looks []look
	for _, p := range pairs {
		looks = append(looks, look{pair: p})
	}
	all(looks, nil, func(l *look) {
		l.found = distance{region: l.at.region, part: l.at.part, addr: l.follower.Addr, of: l.leader.Addr}
		l.found.age, l.found.lacks, l.found.err = measure(ctx, l.pair)
	})
	var out []distance
	for _, l := range looks {
		out = append(out, l.found)
	}
	return out
}

// measure asks the primary how much it has, and its replica until that has as much.
// Nothing is written anywhere. No clock but this machine's has a part in it, and what it
// finds is at most a round trip too old.
func measure(ctx context.Context, p pair) (age time.Duration, lacks int64, err error) {
	leader, err := connect(ctx, p.of.config, p.leader.Addr)
	if err != nil {
		return 0, 0, err
	}
	defer leader.Close()
	follower, err := connect(ctx, p.at.config, p.follower.Addr)
	if err != nil {
		return 0, 0, err
	}
	defer follower.Close()
	begun := time.Now()
	had, err := offset(ctx, leader, "master_repl_offset")
	if err != nil {
		return 0, 0, err
	}
	for {
		has, err := offset(ctx, follower, "slave_repl_offset")
		if err != nil {
			return 0, 0, err
		}
		if age = time.Since(begun); has >= had || age > behindPatience {
			return age, max(0, had-has), nil
		}
		select {
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		case <-time.After(behindPoll):
		}
	}
}

// connect connects to one server, whatever it is a part of.
func connect(ctx context.Context, c valkey.Config, addr string) (client.Client, error) {
	timeout := askTimeout
	if end, ok := ctx.Deadline(); ok { // the client knows no contexts here
		timeout = min(timeout, time.Until(end))
	}
	if timeout <= 0 {
		return nil, context.DeadlineExceeded
	}
	return client.NewClient(client.ClientOption{
		InitAddress: []string{addr}, Username: c.Username, Password: c.Password, TLSConfig: c.TLS,
		ClientName: "roam-check", ForceSingleClient: true, DisableCache: true, DisableRetry: true,
		ConnWriteTimeout: timeout, Dialer: net.Dialer{Timeout: timeout},
	})
}

// offset returns a number of what a server says of its replication.
func offset(ctx context.Context, c client.Client, name string) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	info, err := c.Do(ctx, c.B().Info().Section("replication").Build()).ToString()
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return strconv.ParseInt(value, 10, 64)
		}
	}
	return 0, fmt.Errorf("it does not tell its %s", name)
}
