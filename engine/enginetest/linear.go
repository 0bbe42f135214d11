package enginetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

const (
	linearClients = 8
	linearCalls   = 12 // of each client: more takes the checker long
	linearRounds  = 20 // sessions, one after the other
	// linearPatience bounds how long the checker looks for an order: it takes
	// milliseconds, but there are histories that no time is enough for.
	linearPatience = 30 * time.Second
)

// Linearizable has eight clients use the new session k of e at once: births,
// writes, additions, reads and an ending, drawn by seed. It returns an error
// unless there is an order in which the calls could have been made one after the
// other, each between its beginning and its end, with the answers that they got.
// Calls whose outcome is unknown may have happened at any time after they began,
// or never. The clock of e shows about now.
func Linearizable(ctx context.Context, e engine.Engine, k crdt.Key, now crdt.Time, seed uint64) error {
	calls := drawCalls(rand.New(rand.NewPCG(seed, 1)), now) //nolint:gosec // a test
	var clock atomic.Int64
	done := make([][]porcupine.Operation, len(calls))
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range calls {
		wg.Go(func() {
			<-start
			for _, c := range calls[i] {
				op := porcupine.Operation{ClientId: i, Input: c, Call: clock.Add(1)}
				a := c.do(ctx, e, k)
				op.Output, op.Return = a, clock.Add(1)
				switch {
				case a.nothing:
					continue
				case a.unknown:
					op.Return = math.MaxInt64
				}
				done[i] = append(done[i], op)
			}
		})
	}
	close(start)
	wg.Wait()
	return judgeLinear(slices.Concat(done...))
}

// judgeLinear returns an error unless one order explains the history.
func judgeLinear(history []porcupine.Operation) error {
	verdict := porcupine.CheckOperationsTimeout(linearModel(), history, linearPatience)
	if verdict == porcupine.Ok {
		return nil
	}
	slices.SortFunc(history, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var b strings.Builder
	fmt.Fprintf(&b, "no order explains these calls (%s):", strings.ToLower(string(verdict)))
	for _, op := range history {
		fmt.Fprintf(&b, "\n  [%d–%d] client %d: %+v = %+v", op.Call, op.Return, op.ClientId, op.Input, op.Output)
	}
	return errors.New(b.String())
}

// A linearCall is one call of one client.
type linearCall struct {
	kind   callKind
	stamp  crdt.Stamp
	number uint8 // of the value or the secret; unique
}

type callKind string

const (
	callRead    callKind = "read"
	callBirth   callKind = "birth"
	callPut     callKind = "put"
	callAdd     callKind = "add"
	callDestroy callKind = "destroy"
)

// drawCalls returns the calls of each client. Their stamps are in another order
// than the calls, as those of clients that read some time ago are.
func drawCalls(rng *rand.Rand, now crdt.Time) [][]linearCall {
	stamps := rng.Perm(linearClients * linearCalls)
	out := make([][]linearCall, linearClients)
	for i := range out {
		for j := range linearCalls {
			n := i*linearCalls + j
			c := linearCall{
				kind: callRead, number: uint8(n + 1), stamp: now.Stamp() + crdt.Stamp(stamps[n]), //nolint:gosec // below 97
			}
			switch draw := rng.IntN(20); {
			case j == 0 && i < 2 || draw == 0:
				c.kind = callBirth
			case i == 0 && j > linearCalls/2 && draw == 1:
				c.kind = callDestroy
			case draw < 7:
				c.kind = callPut
			case draw < 11:
				c.kind = callAdd
			}
			out[i] = append(out[i], c)
		}
	}
	return out
}

func (c linearCall) op(now crdt.Time) crdt.Op {
	op := crdt.Op{ID: uint64(c.number), Stamp: c.stamp}
	switch c.kind {
	case callBirth:
		op.Birth, op.Auth = &crdt.Birth{}, &crdt.Auth{Gen: 1, Cur: crdt.Hash{c.number}, At: now}
	case callPut:
		op.Changes = []crdt.Change{crdt.Put("a", []byte{c.number})}
	case callAdd:
		op.Changes = []crdt.Change{crdt.Add("n", 1)}
	case callDestroy:
		op.Destroy = true
	case callRead:
	}
	return op
}

// A linearAnswer is what a call got.
type linearAnswer struct {
	refusal string       // empty if there was none
	shows   linearRecord // of a read
	unknown bool         // nobody knows whether it was done
	nothing bool         // nothing was done, for a reason that is none of the record's
}

// refusals are those that the model knows.
func refusals() []error { return []error{crdt.ErrAbsent, crdt.ErrDead, crdt.ErrExists} }

func (c linearCall) do(ctx context.Context, e engine.Engine, k crdt.Key) linearAnswer {
	if c.kind == callRead {
		r, err := e.Read(ctx, k, crdt.Token{})
		if err != nil {
			return linearAnswer{nothing: true}
		}
		return linearAnswer{shows: linearRecordOf(r)}
	}
	_, err := e.Apply(ctx, k, c.op(c.stamp.Time()))
	for _, kind := range refusals() {
		if errors.Is(err, kind) {
			return linearAnswer{refusal: kind.Error()}
		}
	}
	switch {
	case err == nil:
		return linearAnswer{}
	case engine.OutcomeKnown(err):
		return linearAnswer{nothing: true}
	}
	return linearAnswer{unknown: true}
}

// A linearRecord is what the model knows of a record.
type linearRecord struct {
	dead   bool
	secret uint8 // of the birth; 0: not born
	value  uint8
	stamp  crdt.Stamp // of the value
	count  int64
}

func linearRecordOf(r crdt.Record) linearRecord {
	out := linearRecord{dead: r.Dead, count: r.Count("n")}
	if !r.Born.Dot.IsZero() {
		out.secret = r.Auth.Cur[0]
	}
	if f, ok := r.Field(".a"); ok && len(f.Value) == 1 {
		out.value, out.stamp = f.Value[0], f.Dot.Stamp
	}
	return out
}

// after returns what a call makes of r, one call after the other, and how it is
// refused.
func (r linearRecord) after(c linearCall) (linearRecord, error) {
	switch {
	case c.kind == callDestroy:
		return linearRecord{dead: true}, nil
	case r.dead:
		return r, crdt.ErrDead
	case c.kind == callBirth && r.secret == 0:
		r.secret = c.number
		return r, nil
	case c.kind == callBirth && r.secret != c.number:
		return r, crdt.ErrExists
	case r.secret == 0:
		return r, crdt.ErrAbsent
	case c.kind == callPut && c.stamp > r.stamp:
		r.value, r.stamp = c.number, c.stamp
	case c.kind == callAdd:
		r.count++
	}
	return r, nil
}

func linearModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return linearRecord{} },
		Step: func(state, input, output any) (bool, any) {
			r, c, a := state.(linearRecord), input.(linearCall), output.(linearAnswer) //nolint:forcetypeassert // Linearizable wrote them
			if c.kind == callRead {
				return a.shows == r, r
			}
			next, err := r.after(c)
			if a.unknown {
				return true, next
			}
			refusal := ""
			if err != nil {
				refusal = err.Error()
			}
			return refusal == a.refusal, next
		},
	}
}

func callsAreLinearizable(w *world) {
	e := w.open(here)
	for range linearRounds {
		if err := Linearizable(w.ctx(), e, w.key(), w.now(), w.rng.Uint64()); err != nil {
			w.Fatal(err)
		}
	}
}
