package drill

import (
	"slices"
	"sync"
	"time"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/internal/router"
)

// A notebook has all that was acknowledged, and all that nobody knows of. Many goroutines
// write into it.
type notebook struct {
	start time.Time

	mu     sync.Mutex // guards what follows
	writes []Write
	doubts []Doubt
	counts map[crdt.Key]*Count
	names  map[string]crdt.Key // of sessions, by their fingerprints
	out    []string            // who was logged out and had not asked for it
}

func newNotebook() *notebook {
	return &notebook{start: time.Now(), counts: map[crdt.Key]*Count{}, names: map[string]crdt.Key{}}
}

// now returns the time since the drill began.
func (n *notebook) now() time.Duration { return time.Since(n.start) }

// A page is a place in a notebook: what comes behind it is later.
type page struct{ writes, doubts int }

func (n *notebook) page() page {
	n.mu.Lock()
	defer n.mu.Unlock()
	return page{len(n.writes), len(n.doubts)}
}

// since returns what is behind a page.
func (n *notebook) since(p page) ([]Write, []Doubt) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.writes[p.writes:]), slices.Clone(n.doubts[p.doubts:])
}

// tally returns what the counters of sessions must show, of those that were written to.
func (n *notebook) tally() (out []Count) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.counts {
		out = append(out, *c)
	}
	return out
}

func (n *notebook) acknowledged(w Write) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.writes = append(n.writes, w)
}

func (n *notebook) doubtful(d Doubt) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.doubts = append(n.doubts, d)
}

// adds reports whether an act is one in which a visit is counted.
func adds(a router.Act) bool {
	return a == router.Create || a == router.Login || a == router.Change || a == router.Rotate
}

// heard takes in what a store of a Region did for a client. It must not block.
func (n *notebook) heard(who, home string, name func(crdt.Region) string, o roam.Observation) {
	if o.Act == router.Read || o.Act == router.TakeBack {
		return
	}
	now := n.now()
	n.mu.Lock()
	defer n.mu.Unlock()
	ends := o.Act == router.Destroy
	counted := o.Key.Kind() == crdt.KindSession && adds(o.Act)
	if counted && n.counts[o.Key] == nil {
		n.counts[o.Key] = &Count{Key: o.Key}
		n.names[o.Key.String()] = o.Key
	}
	taken := o.Err == nil && o.Answer.Rung == router.Normal
	if taken && !o.Answer.Dot.IsZero() {
		n.writes = append(n.writes, Write{
			Who: who, Home: home, Key: o.Key, Dot: o.Answer.Dot, At: name(o.Answer.Region), Ends: ends, Sent: now - o.Took, Acked: now,
		})
	}
	// An ending that found nothing to end was done before, by a try of which nobody heard.
	if !taken || o.Answer.Tries > 1 || ends && o.Answer.Dot.IsZero() {
		n.doubts = append(n.doubts, Doubt{Who: who, Key: o.Key, Times: max(1, o.Answer.Tries), Ends: ends, Sent: now - o.Took})
	}
	switch {
	case !counted:
	case taken:
		n.counts[o.Key].Done++
	default:
		n.counts[o.Key].Maybe++
	}
}

// wrote notes the number that a visit wrote into a session, which was acknowledged.
func (n *notebook) wrote(session string, number int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if k, ok := n.names[session]; ok {
		n.counts[k].Newest = max(n.counts[k].Newest, number)
	}
}

// forgotten notes that a client was logged out and had not asked for it.
func (n *notebook) forgotten(who string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.out = append(n.out, who)
}

// strangers returns who was logged out, with none left.
func (n *notebook) strangers() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := n.out
	n.out = nil
	return out
}
