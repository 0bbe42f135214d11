package dns

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	wire "github.com/miekg/dns"
)

// ErrOccupied says that a foreign server has something else at our name, or beside it.
var ErrOccupied = errors.New("the name is used for something else")

// ErrRefused says that a foreign server won't have what it was asked, and would not have it
// again either: the key, its rights or the zone are wrong.
var ErrRefused = errors.New("the server refuses")

var (
	errChanged    = errors.New("somebody else changed it meanwhile")
	errUnverified = errors.New("what was written is not what is answered")
)

// markOf is put before a name that is published for the name of its mark: a text record that
// says of which epoch the name is. It changes with the name, or neither does.
const markOf = "_roam."

// markVersion is the first string of a mark.
const markVersion = "roam1"

// A Publication is where a name is to lead to.
type Publication struct {
	// Epoch is that of the lease. What has a lower one than what was published last is
	// stale, and so is what has the same one and another target.
	Epoch uint64
	// Target is an absolute name.
	Target string
}

// text returns what the mark of a publication says.
func (w Publication) text() []string {
	return []string{markVersion, strconv.FormatUint(w.Epoch, 10), w.Target}
}

// parseMark reads what a mark says. It takes what text returns and nothing else.
func parseMark(text []string) (Publication, error) {
	if len(text) != 3 || text[0] != markVersion {
		return Publication{}, fmt.Errorf("%w: %q is no mark of ours", ErrOccupied, text)
	}
	epoch, err := strconv.ParseUint(text[1], 10, 64)
	target, nameErr := parseName(text[2])
	w := Publication{Epoch: epoch, Target: target}
	if err != nil || nameErr != nil || w.text()[1] != text[1] || w.Target != text[2] {
		return Publication{}, fmt.Errorf("%w: %q is no mark of ours", ErrOccupied, text)
	}
	return w, nil
}

// A holding is what a foreign server has of our name.
type holding struct {
	alias *wire.CNAME // nil: none
	mark  *wire.TXT   // nil: none
	last  Publication // what the mark says
}

// hear takes in an answer to a question for the alias or the mark, at its name.
func (h *holding) hear(name string, rrtype uint16, r *wire.Msg) error {
	switch {
	case r.Rcode != wire.RcodeSuccess && r.Rcode != wire.RcodeNameError:
		return judge(r.Rcode)
	case !r.Authoritative:
		return fmt.Errorf("%w: it is no authority for %s", ErrRefused, name)
	}
	for _, rr := range r.Answer {
		if !strings.EqualFold(rr.Header().Name, name) {
			continue // of a name that this one stands for
		}
		if rr.Header().Rrtype != rrtype {
			return fmt.Errorf("%w: %s stands for another name", ErrOccupied, name)
		}
		switch rr := rr.(type) {
		case *wire.CNAME:
			h.alias = rr
		case *wire.TXT:
			if h.mark != nil {
				return fmt.Errorf("%w: %s has several texts", ErrOccupied, name)
			}
			var err error
			if h.last, err = parseMark(rr.Txt); err != nil {
				return err
			}
			h.mark = rr
		}
	}
	return nil
}

// change returns the update by which a name comes to be what is wanted; nil: it is. The update
// does nothing if anything is not as it was held to be when it arrives, so one that comes late
// never undoes what came before it. It fails with ErrStale if the server knows better.
func (h *holding) change(zone, name string, want Publication, ttl uint32) (*wire.Msg, error) {
	if h.mark != nil {
		if h.last.Epoch > want.Epoch {
			return nil, fmt.Errorf("%w: epoch %d was published, and not %d", ErrStale, h.last.Epoch, want.Epoch)
		}
		if h.last.Epoch == want.Epoch && h.last.Target != want.Target {
			return nil, fmt.Errorf("%w: epoch %d was published with %s, and not %s", ErrStale, want.Epoch, h.last.Target, want.Target)
		}
		if h.last == want && h.alias != nil && strings.EqualFold(h.alias.Target, want.Target) && h.alias.Hdr.Ttl == ttl {
			return nil, nil //nolint:nilnil // nothing is to be done
		}
	}
	mark := markOf + name
	m := &wire.Msg{Question: []wire.Question{{Name: zone, Qtype: wire.TypeSOA, Qclass: wire.ClassINET}}}
	m.Opcode = wire.OpcodeUpdate
	if h.alias == nil {
		m.NameNotUsed([]wire.RR{&wire.ANY{Hdr: header(name, wire.TypeANY, 0)}})
	} else {
		m.Used([]wire.RR{wire.Copy(h.alias)})
	}
	if h.mark == nil {
		m.RRsetNotUsed([]wire.RR{&wire.TXT{Hdr: header(mark, wire.TypeTXT, 0)}})
	} else {
		m.Used([]wire.RR{wire.Copy(h.mark)})
	}
	for _, rr := range []wire.RR{
		&wire.CNAME{Hdr: header(name, wire.TypeCNAME, ttl), Target: want.Target},
		&wire.TXT{Hdr: header(mark, wire.TypeTXT, ttl), Txt: want.text()},
	} {
		m.RemoveRRset([]wire.RR{rr})
		m.Insert([]wire.RR{rr})
	}
	return m, nil
}

// judge returns what the code of an answer means to whoever asked.
func judge(rcode int) error {
	switch rcode {
	case wire.RcodeSuccess:
		return nil
	case wire.RcodeYXDomain:
		return ErrOccupied // or somebody was first; the next look tells
	case wire.RcodeNameError, wire.RcodeYXRrset, wire.RcodeNXRrset:
		return errChanged
	case wire.RcodeRefused, wire.RcodeNotAuth, wire.RcodeNotZone, wire.RcodeFormatError, wire.RcodeNotImplemented:
		return fmt.Errorf("%w: %s", ErrRefused, wire.RcodeToString[rcode])
	default:
		return fmt.Errorf("the server says %s", wire.RcodeToString[rcode])
	}
}
