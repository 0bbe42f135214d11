package valkey

import (
	"context"
	_ "embed" // for the functions
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// chainFunctions are what a Chain has its server run. They are a library of their own:
// who only keeps sessions need not have them.
//
//go:embed chain/chain.lua
var chainFunctions string

// The keys that a Chain writes.
const (
	overKey = "roam:over"
	beatKey = "roam:beat"
)

// Mark has a primary tell its replicas that an epoch is over. It comes to them behind all
// that the server has written before: who reads it there has all writes of the epoch, if
// the lease was ended before Mark was called. Of two epochs the later one stays. Then the
// server is to follow the next primary soon: what strangers still write makes it differ, and
// a server that differs is given all data anew. Who writes for Roam is refused.
func (c *Chain) Mark(ctx context.Context, epoch uint64) error {
	if err := c.tell(ctx, epoch, "roam_chain_v1_over", overKey); err != nil {
		return fmt.Errorf("mark that epoch %d is over: %w", epoch, err)
	}
	return nil
}

// Marked returns the last epoch that is known to be over at the server, a primary or a
// replica; 0: none is.
func (c *Chain) Marked(ctx context.Context) (epoch uint64, err error) {
	text, err := c.get(ctx, overKey)
	if err == nil && text != "" {
		epoch, err = parseEpoch(text)
	}
	if err != nil {
		return 0, fmt.Errorf("read which epoch is over: %w", err)
	}
	return epoch, nil
}

// A Beat is the last sign of life that a primary was given by its node, as it has come to
// a server.
type Beat struct {
	Epoch uint64
	// N counts them; it goes on in the next epoch from what the next primary had. 0: none
	// has ever come.
	N uint64
	// At is when the primary wrote it, by its own clock.
	At crdt.Time
}

// Beat has a primary write its next sign of life. It fails with engine.ErrNotPrimary where
// the epoch is marked as over, or a later one has begun.
func (c *Chain) Beat(ctx context.Context, epoch uint64) error {
	if err := c.tell(ctx, epoch, "roam_chain_v1_beat", beatKey, overKey); err != nil {
		return fmt.Errorf("beat in epoch %d: %w", epoch, err)
	}
	return nil
}

// Beaten returns the last beat that has come to the server, a primary or a replica; the
// zero Beat: none has.
func (c *Chain) Beaten(ctx context.Context) (Beat, error) {
	var b Beat
	text, err := c.get(ctx, beatKey)
	if err == nil && text != "" {
		b, err = parseBeat(text)
	}
	if err != nil {
		return Beat{}, fmt.Errorf("read the last beat: %w", err)
	}
	return b, nil
}

// tell calls a function with an epoch, and gives the server the functions if it has not
// got them.
func (c *Chain) tell(ctx context.Context, epoch uint64, function string, keys ...string) error {
	if epoch == 0 || epoch > maxEpoch {
		return fmt.Errorf("%w: want an epoch from 1 to %d", crdt.ErrMalformed, uint64(maxEpoch))
	}
	call := append([]string{"FCALL", function, strconv.Itoa(len(keys))}, keys...)
	call = append(call, strconv.FormatUint(epoch, 10))
	return c.do(ctx, func() error {
		_, err := c.ask(ctx, call...)
		if err == nil || !errors.Is(err, errNoFunctions) {
			return err
		}
		if _, err = c.ask(ctx, "FUNCTION", "LOAD", chainFunctions); err != nil && !strings.Contains(err.Error(), "already exists") {
			return err
		}
		_, err = c.ask(ctx, call...)
		return err
	})
}

// get returns the text of a key; empty if there is none.
func (c *Chain) get(ctx context.Context, key string) (text string, err error) {
	var reply valkey.ValkeyMessage
	err = c.do(ctx, func() error {
		got, err := c.ask(ctx, "GET", key)
		reply = got
		return err
	})
	if err != nil {
		return "", err
	}
	if reply.IsNil() {
		return "", nil
	}
	if text, err = reply.ToString(); err != nil {
		return "", fmt.Errorf("%w: %w", engine.ErrUnavailable, err)
	}
	return text, nil
}

// parseEpoch reads what Mark has written.
func parseEpoch(text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 48)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != text {
		return 0, fmt.Errorf("%w: epoch %.64q", engine.ErrCorrupt, text)
	}
	return n, nil
}

// parseBeat reads what Beat has written.
func parseBeat(text string) (Beat, error) {
	epoch, rest, _ := strings.Cut(text, " ")
	count, at, _ := strings.Cut(rest, " ")
	e, err := parseEpoch(epoch)
	n, errN := strconv.ParseUint(count, 10, 53)
	ms, errAt := strconv.ParseInt(at, 10, 53)
	if errors.Join(err, errN, errAt) != nil || n == 0 || ms < 0 {
		return Beat{}, fmt.Errorf("%w: beat %.64q", engine.ErrCorrupt, text)
	}
	return Beat{Epoch: e, N: n, At: crdt.TimeOf(time.UnixMilli(ms))}, nil
}
