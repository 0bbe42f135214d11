package valkey

import (
	"context"
	_ "embed" // for the functions
	"errors"
	"fmt"
	"slices"
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

// The keys that a Chain writes. Of a cluster's shard a hash tag stands behind them.
const (
	overKey = "roam:over"
	beatKey = "roam:beat"
)

// signs are the keys of what is told at one server.
type signs struct{ over, beat string }

// aloneSigns are those of a server that is no cluster's.
func aloneSigns() signs { return signs{overKey, beatKey} }

// Mark has a primary tell its replicas that an epoch is over. It comes to them behind all
// that the server has written before: who reads it there has all writes of the epoch, if
// the lease was ended before Mark was called. Of two epochs the later one stays. Then the
// server is to follow the next primary soon: what strangers still write makes it differ, and
// a server that differs is given all data anew. Who writes for Roam is refused.
func (c *Chain) Mark(ctx context.Context, epoch uint64) error {
	if err := c.mark(ctx, epoch, aloneSigns()); err != nil {
		return fmt.Errorf("mark that epoch %d is over: %w", epoch, err)
	}
	return nil
}

func (c *Chain) mark(ctx context.Context, epoch uint64, at signs) error {
	_, err := c.tell(ctx, epoch, "roam_chain_v2_over", []string{at.over})
	return err
}

// Marked returns the last epoch that is known to be over at the server, a primary or a
// replica; 0: none is.
func (c *Chain) Marked(ctx context.Context) (epoch uint64, err error) {
	epoch, err = c.marked(ctx, aloneSigns())
	if err != nil {
		return 0, fmt.Errorf("read which epoch is over: %w", err)
	}
	return epoch, nil
}

func (c *Chain) marked(ctx context.Context, at signs) (uint64, error) {
	text, err := c.get(ctx, at.over)
	if err != nil || text == "" {
		return 0, err
	}
	return parseEpoch(text)
}

// A Beat is the last sign of life that a primary was given by its node, as it has come to
// a server.
type Beat struct {
	Epoch uint64
	// N counts them; it goes on in the next epoch from what the next primary had. 0: none
	// has ever come, or, of several shards, not to all of them in this epoch.
	N uint64
	// At is when the primary wrote it, by its own clock. 0: that is not known.
	At crdt.Time
}

// Beat has a primary write its next sign of life. It fails with engine.ErrNotPrimary where
// the epoch is marked as over, or a later one has begun.
func (c *Chain) Beat(ctx context.Context, epoch uint64) error {
	if _, err := c.beat(ctx, epoch, 1, aloneSigns()); err != nil {
		return fmt.Errorf("beat in epoch %d: %w", epoch, err)
	}
	return nil
}

// beat returns the number of the beat, which is at least what is wanted.
func (c *Chain) beat(ctx context.Context, epoch, least uint64, at signs) (uint64, error) {
	text, err := c.tell(ctx, epoch, "roam_chain_v2_beat", []string{at.beat, at.over}, strconv.FormatUint(least, 10))
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(text, 10, 53)
	if err != nil {
		return 0, fmt.Errorf("%w: number of a beat: %w", engine.ErrUnavailable, err)
	}
	return n, nil
}

// Beaten returns the last beat that has come to the server, a primary or a replica; the
// zero Beat: none has.
func (c *Chain) Beaten(ctx context.Context) (Beat, error) {
	b, err := c.beaten(ctx, aloneSigns())
	if err != nil {
		return Beat{}, fmt.Errorf("read the last beat: %w", err)
	}
	return b, nil
}

func (c *Chain) beaten(ctx context.Context, at signs) (Beat, error) {
	text, err := c.get(ctx, at.beat)
	if err != nil || text == "" {
		return Beat{}, err
	}
	return parseBeat(text)
}

// tell calls a function with an epoch and what else it takes, and returns its answer. It
// gives the server the functions if it has not got them.
func (c *Chain) tell(ctx context.Context, epoch uint64, function string, keys []string, args ...string) (string, error) {
	if epoch == 0 || epoch > maxEpoch {
		return "", fmt.Errorf("%w: want an epoch from 1 to %d", crdt.ErrMalformed, uint64(maxEpoch))
	}
	call := slices.Concat([]string{"FCALL", function, strconv.Itoa(len(keys))}, keys, []string{strconv.FormatUint(epoch, 10)}, args)
	var reply valkey.ValkeyMessage
	err := c.do(ctx, func() error {
		got, err := c.ask(ctx, call...)
		if errors.Is(err, errNoFunctions) {
			if _, err = c.ask(ctx, "FUNCTION", "LOAD", chainFunctions); err == nil || strings.Contains(err.Error(), "already exists") {
				got, err = c.ask(ctx, call...)
			}
		}
		reply = got
		return err
	})
	if err != nil {
		return "", err
	}
	return textOf(reply)
}

// get returns the text of a key; empty if there is none.
func (c *Chain) get(ctx context.Context, key string) (string, error) {
	var reply valkey.ValkeyMessage
	err := c.do(ctx, func() error {
		got, err := c.ask(ctx, "GET", key)
		reply = got
		return err
	})
	if err != nil {
		return "", err
	}
	return textOf(reply)
}

// textOf returns the text of a reply; empty if there is none.
func textOf(reply valkey.ValkeyMessage) (string, error) {
	if reply.IsNil() {
		return "", nil
	}
	text, err := reply.ToString()
	if err != nil {
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
