package history

import (
	"slices"
)

// A client is one client with one session, as its events are gone through by start.
type client struct {
	c      *checker
	writes map[value]int32
	gone   map[string][]int32 // deletions of each field that were not refused, by start
	// token is what the client knew when the last of its answers had come.
	token *knowledge
	// under are requests that were sent and not answered yet, by end.
	under     []answer
	overtaken int
}

// An answer is what a client will know once an answer has come.
type answer struct {
	end   int64
	sent  *knowledge // what the request was sent with
	knows *knowledge
}

// knowledge is what a token stands for. It is never changed; nil knows nothing.
type knowledge struct {
	fields []known // by name
	wrote  mark    // the last of all writes
	read   mark    // the last of all that was shown
}

// known is what a client knows of one field.
type known struct {
	name  string
	wrote mark
	read  mark
}

// A mark is a place in the order, and the event it was learned from.
type mark struct {
	order Order
	event int32
}

func (m mark) later(order Order, event int32) mark {
	if m.order.Compare(order) < 0 {
		return mark{order, event}
	}
	return m
}

// of returns what is known of a field.
func (k *knowledge) of(name string) known {
	if k == nil {
		return known{}
	}
	for i := range k.fields { // a session has few
		if k.fields[i].name == name {
			return k.fields[i]
		}
	}
	return known{}
}

// with returns k knowing a write or a read of order in the field called name.
func (k *knowledge) with(name string, wrote bool, order Order, event int32) *knowledge {
	out := &knowledge{}
	if k != nil {
		*out = *k
	}
	f := known{name: name}
	at := slices.IndexFunc(out.fields, func(f known) bool { return f.name == name })
	if at >= 0 {
		f = out.fields[at]
	}
	if wrote {
		f.wrote, out.wrote = f.wrote.later(order, event), out.wrote.later(order, event)
	} else if f.wrote.order.Compare(order) < 0 { // else it shows what its client knows
		f.read, out.read = f.read.later(order, event), out.read.later(order, event)
	}
	if at >= 0 && f == out.fields[at] {
		return k // nothing new
	}
	if at >= 0 {
		out.fields = slices.Clone(out.fields)
		out.fields[at] = f
	} else {
		out.fields = append(slices.Clip(out.fields), f)
	}
	return out
}

// event takes in the client's next event by start.
func (k *client) event(i int32) {
	e := &k.c.events[i]
	k.answeredBefore(e.Start)
	sent := k.token
	var knows *knowledge
	switch e.Kind {
	case Write:
		knows = k.write(i, e, sent)
	case Read:
		knows = k.read(i, e, sent)
	default:
		return // it tells the client nothing of fields
	}
	if !e.done() {
		return // a refusal touches no cookie, and what never came brings none
	}
	at, _ := slices.BinarySearchFunc(k.under, e.End+1, func(a answer, end int64) int {
		if a.end < end {
			return -1
		}
		return 1
	})
	k.under = slices.Insert(k.under, at, answer{e.End, sent, knows})
}

// answeredBefore lets the client know what had been answered when a request was
// sent: it sends the token of the last answer.
func (k *client) answeredBefore(start int64) {
	n := 0
	for n < len(k.under) && k.under[n].end < start {
		a := k.under[n]
		n++
		if a.sent == a.knows {
			continue // it taught the client nothing, so it set no cookie
		}
		if a.sent != k.token {
			k.overtaken++ // its token knows nothing of the answer before it
		}
		k.token = a.knows
	}
	k.under = slices.Delete(k.under, 0, n)
}

// write holds monotonic writes and writes follow reads, and returns what the
// client knows once it is answered.
func (k *client) write(i int32, e *Event, sent *knowledge) *knowledge {
	if !e.done() {
		return sent
	}
	if e.Order.IsZero() {
		k.c.report.Unordered++
		return sent
	}
	if sent != nil {
		if m := sent.wrote; !m.order.IsZero() {
			k.c.report.Comparisons++
			if m.order.Compare(e.Order) >= 0 {
				k.c.broken(MonotonicWrites, []int32{m.event, i}, "a write stands before one that its client made earlier")
			}
		}
		if m := sent.read; !m.order.IsZero() {
			k.c.report.Comparisons++
			if m.order.Compare(e.Order) >= 0 {
				k.c.broken(WritesFollowReads, []int32{m.event, i}, "a write stands before one that its client had been shown")
			}
		}
	}
	return sent.with(e.Field, true, e.Order, i)
}

// read holds read your writes and monotonic reads, and returns what the client
// knows once it is answered.
func (k *client) read(i int32, e *Event, sent *knowledge) *knowledge {
	if !e.done() || !e.Live {
		return sent // nothing was shown; whether that was right, endings tell
	}
	if e.Stale {
		k.c.report.Stale++
	}
	if e.Lost {
		k.c.report.Lost++
	}
	knows := sent
	if e.Lost {
		knows = nil // what is lost for good is no longer asked for
	}
	for _, f := range e.Shows {
		order, by, ok := k.shown(i, e, f)
		if !ok {
			continue
		}
		k.compare(i, e, f, sent.of(f.Field), order)
		if by >= 0 {
			knows = knows.with(f.Field, false, order, i)
		}
	}
	return knows
}

// shown returns where what a read showed of a field stands, the zero Order if it
// was never written, and which write it was, and whether that is known.
func (k *client) shown(i int32, e *Event, f Shown) (order Order, by int32, ok bool) {
	if f.Absent {
		return k.deleted(e, f.Field)
	}
	w, found := k.writes[value{f.Field, f.Value}]
	if !found {
		k.c.broken(NothingInvented, []int32{i}, "nobody wrote %s=%q", f.Field, f.Value)
		return Order{}, -1, false
	}
	by = w
	write := &k.c.events[by]
	switch {
	case write.Refused:
		k.c.broken(NothingInvented, []int32{by, i}, "%s=%q was refused and is shown", f.Field, f.Value)
		return Order{}, -1, false
	case write.Start > e.End:
		k.c.broken(NothingInvented, []int32{by, i}, "%s=%q is shown before it was written", f.Field, f.Value)
		return Order{}, -1, false
	case write.Order.IsZero():
		k.c.report.Unordered++
		return Order{}, -1, false
	}
	return write.Order, by, true
}

// deleted returns where the last deletion of a field stands that may be why a read
// did not show it.
func (k *client) deleted(e *Event, field string) (order Order, by int32, ok bool) {
	by = -1
	for _, w := range k.gone[field] {
		write := &k.c.events[w]
		switch {
		case write.Start > e.End:
			return order, by, true // by start: the others are later still
		case write.Order.IsZero():
			k.c.report.Unordered++
			return Order{}, -1, false
		case by < 0 || order.Compare(write.Order) < 0:
			order, by = write.Order, w
		}
	}
	return order, by, true
}

// compare holds what a read showed of a field against what its client knew.
func (k *client) compare(i int32, e *Event, f Shown, knew known, order Order) {
	for _, m := range []struct {
		mark
		guarantee Guarantee
		text      string
	}{
		{knew.wrote, ReadYourWrites, "%s is older than what its client wrote"},
		{knew.read, MonotonicReads, "%s is older than what its client had been shown"},
	} {
		if m.order.IsZero() {
			continue
		}
		k.c.report.Comparisons++
		switch {
		case order.Compare(m.order) >= 0:
		case e.Stale || e.Lost:
			k.c.report.Excused++
		default:
			k.c.broken(m.guarantee, []int32{m.event, i}, m.text, f.Field)
		}
	}
}
