package quorum

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

// reads are the reads of this member that are under way. Those that come between two
// outputs make one attempt: a question to the leader how far the log was when it had
// been asked, which it answers when a majority has confirmed that it still leads. A
// read never joins an attempt that was sent before it came.
type reads struct {
	member, life uint64
	last         uint64 // number given
	attempt      uint64 // last one made
	pending      []*read
}

type read struct {
	seq     uint64
	attempt uint64 // zero: none yet
	waited  int    // ticks since it was made
	known   bool
	index   uint64 // that must have been applied, once known
}

func newReads(member, life uint64) reads { return reads{member: member, life: life} }

// Read asks for leave to look at the state: Output.Reads names the number that it
// returns once this member has applied all that was acknowledged anywhere before this
// call. It fails with ErrFull.
func (c *Core) Read() (uint64, error) {
	if len(c.reads.pending) >= maxPendingReads {
		return 0, fmt.Errorf("%w: %d reads", ErrFull, len(c.reads.pending))
	}
	c.reads.last++
	c.reads.pending = append(c.reads.pending, &read{seq: c.reads.last})
	return c.reads.last, nil
}

// AbandonRead forgets a read.
func (c *Core) AbandonRead(seq uint64) {
	c.reads.pending = slices.DeleteFunc(c.reads.pending, func(r *read) bool { return r.seq == seq })
}

// ask makes an attempt for the reads that have none. What it is called is never used
// again, in a later life either: an answer that was long on its way must not pass for
// one to a later question.
func (r *reads) ask() (attempt []byte, ok bool) {
	for _, q := range r.pending {
		if q.attempt != 0 || q.known {
			continue
		}
		if !ok {
			r.attempt++
			ok = true
		}
		q.attempt, q.waited = r.attempt, 0
	}
	if !ok {
		return nil, false
	}
	return r.name(r.attempt), true
}

// attemptBytes: member 8, life 8, number 8.
const attemptBytes = 24

func (r *reads) name(attempt uint64) []byte {
	b := binary.BigEndian.AppendUint64(nil, r.member)
	b = binary.BigEndian.AppendUint64(b, r.life)
	return binary.BigEndian.AppendUint64(b, attempt)
}

func (r *reads) answer(name []byte, index uint64) {
	for _, q := range r.pending {
		if q.attempt != 0 && !q.known && bytes.Equal(name, r.name(q.attempt)) {
			q.known, q.index = true, index
		}
	}
}

// done returns the reads that may look at a state at index, and forgets them.
func (r *reads) done(index uint64) (seqs []uint64) {
	r.pending = slices.DeleteFunc(r.pending, func(q *read) bool {
		ready := q.known && q.index <= index
		if ready {
			seqs = append(seqs, q.seq)
		}
		return ready
	})
	return seqs
}

func (r *reads) tick(patience int) {
	for _, q := range r.pending {
		q.waited++
		if q.waited >= patience {
			q.attempt = 0
		}
	}
}

// again has a new attempt made for all that have no answer.
func (r *reads) again() {
	for _, q := range r.pending {
		q.attempt = 0
	}
}
