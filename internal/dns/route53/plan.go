package route53

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/roam-sessions/roam/internal/dns"
)

// A Role is which of two failover records a record is, in Route 53's words.
type Role string

// The roles. While the primary record's health check is good it is the answer; if it is bad
// and the secondary's is good, that one is; if both are bad, the primary is again.
const (
	Primary   Role = "PRIMARY"
	Secondary Role = "SECONDARY"
)

// A Record is a CNAME at our name.
type Record struct {
	Target string // without a dot at its end
	TTL    int64  // seconds

	// What follows is of failover records only.
	Set    string // the SetIdentifier; empty: a simple record
	Role   Role
	Health string // the ID of its health check; empty: always good
}

// A Member is one of two Regions that failover records lead to.
type Member struct {
	// Set tells the records apart; the name of the Region does.
	Set string
	// Target is where the name leads while this record is the answer. It may be another
	// name with a pair of its own: so three Regions make two pairs.
	Target string
	// Health is the ID of the health check that says whether this Region is the primary.
	Health string
}

// Simple returns the one record of a name that leads to a target.
func Simple(target string, ttl int64) []Record {
	return []Record{{Target: bare(target), TTL: ttl}}
}

// Pair returns the failover records of two Regions, the first the primary one.
func Pair(first, second Member, ttl int64) []Record {
	return []Record{
		{Target: bare(first.Target), TTL: ttl, Set: first.Set, Role: Primary, Health: first.Health},
		{Target: bare(second.Target), TTL: ttl, Set: second.Set, Role: Secondary, Health: second.Health},
	}
}

// An Action is what a change does, in Route 53's words.
type Action string

// The actions. To delete takes every field as it is, so a batch that deletes does nothing if
// somebody was faster; to create takes that there is none.
const (
	Create Action = "CREATE"
	Upsert Action = "UPSERT"
	Delete Action = "DELETE"
)

// A Change is one of a batch.
type Change struct {
	Action Action
	Record Record
}

// Plan returns the batch by which a name that is so comes to be as it is wanted; empty: it is.
// Within one form, records are replaced in place, which takes no right but UPSERT. From one
// form to the other, or where two records change roles, all are deleted and created in the one
// batch: no two forms, and no two records of one role, may ever stand side by side.
func Plan(is, want []Record) []Change {
	if same(is, want) {
		return nil
	}
	if len(is) > 0 && (form(is) != form(want) || swaps(is, want)) {
		return slices.Concat(each(Delete, is), each(Create, want))
	}
	var out []Change
	for _, r := range is {
		if find(want, r.Set) == nil {
			out = append(out, Change{Delete, r})
		}
	}
	for _, r := range want {
		if old := find(is, r.Set); old == nil || !old.equal(r) {
			out = append(out, Change{Upsert, r})
		}
	}
	return out
}

// same reports whether two lists have the same records, in any order.
func same(a, b []Record) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(r Record) bool {
		other := find(b, r.Set)
		return other == nil || !other.equal(r)
	})
}

// form tells simple records from failover records.
func form(records []Record) string {
	if records[0].Set == "" {
		return "simple"
	}
	return "failover"
}

// swaps reports whether a role passes from one record to another.
func swaps(is, want []Record) bool {
	return slices.ContainsFunc(want, func(r Record) bool {
		return slices.ContainsFunc(is, func(old Record) bool { return old.Role == r.Role && old.Set != r.Set })
	})
}

func each(a Action, records []Record) []Change {
	out := make([]Change, len(records))
	for i, r := range records {
		out[i] = Change{a, r}
	}
	return out
}

func find(records []Record, set string) *Record {
	i := slices.IndexFunc(records, func(r Record) bool { return r.Set == set })
	if i < 0 {
		return nil
	}
	return &records[i]
}

// equal compares records as DNS does: names in any case, with or without a dot at the end.
func (r Record) equal(o Record) bool {
	targets := strings.EqualFold(bare(r.Target), bare(o.Target))
	r.Target, o.Target = "", ""
	return targets && r == o
}

// bare returns a name as values of records are written: without the last dot.
func bare(name string) string { return strings.TrimSuffix(name, ".") }

// markOf is put before a name for the name of its mark, as internal/dns does.
const markOf = "_roam."

// markVersion is the first string of a mark.
const markVersion = "roam1"

// markText returns what the mark of a publication says, as the value of a TXT record.
func markText(w dns.Publication) string {
	return fmt.Sprintf("%q %q %q", markVersion, strconv.FormatUint(w.Epoch, 10), w.Target)
}

// errNoTarget says that there is nothing to publish. It is no use to try again.
var errNoTarget = errors.New("it leads to no name")

// canonical returns a target as marks have it: lower case, absolute. It takes what a host in
// a datastore's endpoint may be called, and nothing that would have to be escaped.
func canonical(name string) (string, error) {
	name = strings.ToLower(bare(name))
	if name == "" || len(name) > mostName {
		return "", fmt.Errorf("%w: %q", errNoTarget, name)
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return "", fmt.Errorf("%w: %q", errNoTarget, name)
		}
	}
	return name + ".", nil
}

// mostName is the longest name in text, without its last dot: RFC 1035, 2.3.4.
const mostName = 253

// ParseMark reads the value of a mark. It takes what a Publisher writes and nothing else, and
// fails with dns.ErrOccupied.
func ParseMark(text string) (dns.Publication, error) {
	parts := strings.Split(text, " ")
	if len(parts) == 3 {
		epoch, err := strconv.ParseUint(strings.Trim(parts[1], `"`), 10, 64)
		target, nameErr := canonical(strings.Trim(parts[2], `"`))
		w := dns.Publication{Epoch: epoch, Target: target}
		if err == nil && nameErr == nil && markText(w) == text {
			return w, nil
		}
	}
	return dns.Publication{}, fmt.Errorf("%w: %q is no mark of ours", dns.ErrOccupied, text)
}
