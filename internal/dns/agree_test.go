package dns

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"

	wire "github.com/miekg/dns"
)

var seed = flag.Uint64("seed", 0, "the one seed to try; 0: many")

// TestPublishersAgree has several Publishers with views of any age, on a network that loses,
// delays and reorders what they send. Never does the name go back to an older epoch; and what
// Publish says is so, is so or is newer.
func TestPublishersAgree(t *testing.T) {
	first, last := uint64(1), uint64(400)
	if *seed != 0 {
		first, last = *seed, *seed
	}
	for n := first; n <= last; n++ {
		synctest.Test(t, func(t *testing.T) {
			if err := agree(t, rand.New(rand.NewPCG(n, n))); err != nil { //nolint:gosec // seeded on purpose
				t.Errorf("-seed %d: %v", n, err)
			}
		})
	}
}

// target is where an epoch's writer is: there are two, in turn, so that what is old may look
// like what is new.
func target(epoch uint64) string { return fmt.Sprintf("writer-%d.example.", epoch%2) }

// A ring is a server that several Publishers use, and what is known of it.
type ring struct {
	foreign
	highest uint64 // epoch that the mark said
	fault   error
}

// check looks whether the name went on, and is what its mark says.
func (r *ring) check() {
	var h holding
	for name, rrtype := range map[string]uint16{published: wire.TypeCNAME, markOf + published: wire.TypeTXT} {
		r.fault = errors.Join(r.fault, h.hear(name, rrtype, r.take(question(name, rrtype))))
	}
	switch {
	case h.last.Epoch < r.highest:
		r.fault = fmt.Errorf("the name went from epoch %d back to %d", r.highest, h.last.Epoch)
	case h.mark != nil && (h.alias == nil || h.alias.Target != target(h.last.Epoch)):
		r.fault = fmt.Errorf("the mark says %v, and the name %v", h.last, h.alias)
	}
	r.highest = h.last.Epoch
}

func agree(t *testing.T, dice *rand.Rand) error {
	f := &ring{foreign: foreign{zone: foreignZone}}
	if dice.IntN(2) == 0 {
		f.put(t, published+" 10 CNAME "+target(dice.Uint64()))
	}
	chance, patience := dice.IntN(40), 2+dice.IntN(30)
	some := func() Publication { e := 1 + uint64(dice.IntN(6)); return Publication{e, target(e)} }
	f.fate = func(*wire.Msg) fate {
		if len(f.late) > 0 && dice.IntN(patience) == 0 { // it comes now
			i := dice.IntN(len(f.late))
			f.take(f.late[i])
			f.late = append(f.late[:i], f.late[i+1:]...)
			f.check()
		}
		if dice.IntN(20) == 0 { // another Publisher comes between, with one try
			fateOf := f.fate
			f.fate = nil
			_ = publisher(t, &f.foreign, PublisherConfig{Tries: 1}).Publish(t.Context(), some()) // whatever comes of it
			f.fate = fateOf
			f.check()
		}
		return fate{lost: dice.IntN(100) < chance, late: dice.IntN(100) < chance, unheard: dice.IntN(100) < chance}
	}
	publishers := make([]*Publisher, 3)
	for range 20 {
		i := dice.IntN(len(publishers))
		if publishers[i] == nil || dice.IntN(8) == 0 { // it starts anew
			publishers[i] = publisher(t, &f.foreign, PublisherConfig{Tries: 3})
		}
		w := some()
		err := publishers[i].Publish(t.Context(), w)
		f.check()
		switch {
		case err == nil && f.highest < w.Epoch:
			return fmt.Errorf("%v was published, and there is epoch %d", w, f.highest)
		case errors.Is(err, ErrStale) && f.highest <= w.Epoch:
			return fmt.Errorf("Publish of %v, where there is epoch %d: %w", w, f.highest, err)
		}
	}
	return f.fault
}
