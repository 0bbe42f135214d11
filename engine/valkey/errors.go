package valkey

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/valkey-io/valkey-go"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// refused returns what a refusal of the scripts is, by its second word.
func refused(kind string) error {
	switch kind {
	case "ABSENT":
		return crdt.ErrAbsent
	case "DEAD":
		return crdt.ErrDead
	case "EXPIRED":
		return crdt.ErrExpired
	case "EXISTS":
		return crdt.ErrExists
	case "USER":
		return crdt.ErrOtherUser
	case "AHEAD":
		return crdt.ErrAhead
	case "LIMIT":
		return crdt.ErrLimit
	case "FULL":
		return engine.ErrFull
	case "CORRUPT":
		return engine.ErrCorrupt
	case "REGION":
		return errOtherRegion
	case "LEASE":
		return errFenced
	case "ANEW":
		return errAnew
	case "OVER":
		return errOver
	}
	return engine.ErrUnavailable
}

// errOtherRegion: two Regions would write as one.
var errOtherRegion = fmt.Errorf("%w: the server's log is another Region's; each Region needs a server of its own", engine.ErrNotPrimary)

// errFenced: the server does not hold the lease of the epoch that the engine is in.
var errFenced = fmt.Errorf("%w: it holds no lease of this epoch; it holds that of epoch", engine.ErrNotPrimary)

// errAnew: the server is not the one whose clock was asked for.
var errAnew = fmt.Errorf("%w: it has started anew since it was asked for its clock", engine.ErrUnreachable)

// errNoFunctions: the server has not got a library of functions yet.
var errNoFunctions = fmt.Errorf("%w: it has not got its functions yet", engine.ErrUnreachable)

// errMoving: the slot of a key is on its way to another shard.
var errMoving = fmt.Errorf("%w: its slot is on its way to another shard", engine.ErrUnreachable)

// errOver: an epoch is over, or a later one has begun.
var errOver = fmt.Errorf("%w: that epoch is over", engine.ErrNotPrimary)

// notDone are the errors of a server that has not begun to do what it was asked.
// What else a script reports may have happened halfway.
func notDone(kind string) bool {
	switch kind {
	case "LOADING", "MASTERDOWN", "CLUSTERDOWN", "BUSY", "MOVED",
		"NOREPLICAS", "MISCONF", "NOAUTH", "NOPERM", "WRONGPASS", "CROSSSLOT", "OOM":
		return true
	}
	return false
}

// classify returns what err of the client is to an engine's caller.
func classify(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if reply, ok := errors.AsType[*valkey.ValkeyError](err); ok {
		return classifyReply(reply.Error())
	}
	var dial *net.OpError
	switch {
	case errors.Is(err, valkey.ErrClosing):
		return engine.ErrClosed
	case errors.As(err, &dial) && dial.Op == "dial":
		return fmt.Errorf("%w: %w", engine.ErrUnreachable, err)
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", engine.ErrUnavailable, engine.Ended(ctx))
	}
	return fmt.Errorf("%w: %w", engine.ErrUnavailable, err)
}

func classifyReply(text string) error {
	first, rest, _ := strings.Cut(text, " ")
	switch {
	case first == "ROAM":
		kind, detail, _ := strings.Cut(rest, " ")
		if detail = strings.TrimSpace(detail); detail == "" {
			return refused(kind)
		}
		return fmt.Errorf("%w: %s", refused(kind), detail)
	case first == "READONLY":
		return engine.ErrNotPrimary
	case strings.Contains(text, "Function not found"):
		return fmt.Errorf("%w: %s", errNoFunctions, text)
	case first == "ASK" || first == "TRYAGAIN":
		return fmt.Errorf("%w: %s", errMoving, text)
	case notDone(first):
		return fmt.Errorf("%w: %s", engine.ErrUnreachable, text)
	}
	return fmt.Errorf("%w: %s", engine.ErrUnavailable, text)
}
