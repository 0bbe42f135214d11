package check

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/node"
	"github.com/roam-sessions/roam/internal/opener"
	"github.com/roam-sessions/roam/internal/pki"
	"github.com/roam-sessions/roam/internal/topology"
)

// Options are what Run may be told.
type Options struct {
	// Here is the Region that this machine is in; empty: none. Links are dialled as its
	// node does.
	Here string
	// Getenv finds passwords that the deployment names a variable for.
	Getenv func(name string) string
	// Token and TLS are what is shown to members' admin APIs by whoever has no certificate of
	// Here, and whom to believe there. Empty: no token; nil: no certificate, and the
	// authority that the file names.
	Token string
	TLS   *tls.Config
	// LookUp finds where a name leads to; nil: as this machine does.
	LookUp func(ctx context.Context, host string) ([]netip.Addr, error)
	// Now is when certificates are judged.
	Now time.Time
	// Progress, if set, hears how many of the parts have been looked at. It is called by
	// one goroutine at a time, and must not block.
	Progress func(done, all int)
}

// maxHealthBytes is far above what a node says of itself.
const maxHealthBytes = 1 << 20

// Run looks at all Regions and all their parts at once, and at all members of the control
// plane, until ctx ends: what has not answered by then is a fault, and holds up no other.
// Rows are in the order of the deployment.
func Run(ctx context.Context, d topology.Deployment, o Options) (out []Row) {
	looks := looksOf(ctx, d, o)
	all(looks, o.Progress, func(l *look) { l.do(&l.looker) })
	var places []place
	var stores []stored
	var said words
	var leads map[string]lookup
	var signs []sign
	for _, l := range looks {
		if l.found.part != "" {
			places = append(places, l.found)
		}
		if l.store != nil {
			stores = append(stores, *l.store)
		}
		if l.word.member.Name != "" {
			said = append(said, l.word)
		}
		if l.leads != nil {
			leads = l.leads
		}
		if l.sign != nil {
			signs = append(signs, *l.sign)
		}
	}
	distances := measureAll(ctx, pairsOf(places))
	for _, l := range looks {
		for _, row := range l.rows {
			row.Region = l.region.Name
			out = append(out, row)
		}
		for _, d := range distances {
			if d.region == l.region.Name && d.part == l.found.part {
				out = append(out, judgeDistance(d))
			}
		}
	}
	return slices.Concat(out, judgeTogether(d, places, writer(d, said)), judgeStores(stores), judgeNetworks(d, leads), judgeControl(d, said, leads), judgeSigns(d, said, signs))
}

// looksOf returns all that is to be looked at.
func looksOf(ctx context.Context, d topology.Deployment, o Options) (looks []look) {
	for _, r := range d.Regions {
		l := looker{d: d, o: o, region: r}
		looks = append(looks, look{looker: l, do: func(l *looker) { l.engine(ctx, engineOf, r.Engine) }})
		if r.Side != nil {
			looks = append(looks, look{looker: l, do: func(l *looker) { l.engine(ctx, sideOf, *r.Side) }})
		}
		looks = append(looks,
			look{looker: l, do: func(l *looker) { l.links(ctx) }},
			look{looker: l, do: func(l *looker) { l.health(ctx) }})
	}
	for _, m := range d.Voters() {
		l := looker{d: d, o: o, region: topology.Region{Name: m.Name}} // a witness keeps nothing
		looks = append(looks, look{looker: l, do: func(l *looker) { l.member(ctx, m) }})
	}
	if d.Control != nil && d.Control.DNS != nil {
		for _, p := range d.Control.DNS.Publish {
			looks = append(looks, look{looker: looker{d: d, o: o}, do: func(l *looker) { l.signpost(ctx, p) }})
		}
	}
	return append(looks, look{looker: looker{d: d, o: o}, do: func(l *looker) { l.hosts(ctx) }})
}

// all does something about each of several at once, and tells how far that is.
func all[T any](what []T, progress func(done, all int), do func(*T)) {
	var mu sync.Mutex // guards done, and progress
	done := 0
	tell := func(more int) {
		mu.Lock()
		defer mu.Unlock()
		if done += more; progress != nil {
			progress(done, len(what))
		}
	}
	tell(0)
	var wg sync.WaitGroup
	for i := range what {
		wg.Go(func() {
			do(&what[i])
			tell(1)
		})
	}
	wg.Wait()
}

// A look is one thing to do.
type look struct {
	looker
	do func(*looker)
}

// A looker looks at one part of a Region, at a member, or at names.
type looker struct {
	d      topology.Deployment
	o      Options
	region topology.Region
	rows   []Row
	// What it has found: of an engine, of a member, of names.
	found place
	store *stored // a database or a cluster; nil: it is none, or did not answer
	word  word
	leads map[string]lookup
	sign  *sign // of what says outside of Roam where the writer is
}

func (l *looker) add(rows ...Row) { l.rows = append(l.rows, rows...) }

func (l *looker) engine(ctx context.Context, part string, e topology.Engine) {
	switch {
	case e.Memory != nil:
		l.add(Row{State: Unknown, Part: part, Seen: "it is in the memory of a process: only that one can be asked", Mend: "look at its /readyz"})
		return
	case e.Valkey == nil:
		l.examine(ctx, part, e)
		return
	}
	addrs := strings.Join(e.Valkey.Addrs, ", ")
	c, err := opener.ValkeyConfig(e.Valkey, l.o.Getenv)
	if err != nil { // what is missing here may be where the node runs
		l.add(Row{State: Unknown, Part: part, Seen: addrs + ": it was not asked: " + err.Error(), Mend: "run it where the node runs"})
		return
	}
	var expiry []Row
	var wg sync.WaitGroup
	wg.Go(func() { expiry = lookAtCertificates(ctx, part, c, l.o.Now) })
	servers, err := valkey.Examine(ctx, c)
	wg.Wait()
	l.add(judgeServers(l.d, part, servers)...)
	l.add(expiry...)
	if err != nil {
		l.add(Row{
			State: Fault, Part: part, Seen: addrs + ": " + err.Error(),
			Mend: "look whether it runs, and whether this machine may reach it",
		})
	}
	l.found = place{region: l.region.Name, part: part, config: c, servers: servers, whole: err == nil}
}

// links dials the Region's node as a peer does.
func (l *looker) links(ctx context.Context) {
	if !l.d.Pushes() {
		return
	}
	addr := l.region.Node.Advertise
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		l.add(Row{State: Fault, Part: "links", Seen: err.Error(), Mend: "look whether the node runs, and whether this machine may reach it"})
		return
	}
	defer func() { _ = conn.Close() }() // nothing was sent
	if l.d.Links.TLS == nil {
		l.add(Row{State: Good, Part: "links", Seen: addr + " is open, without TLS"})
		return
	}
	if l.o.Here == "" {
		l.add(Row{
			State: Unknown, Part: "links", Seen: addr + " is open; who is there was not asked",
			Mend: "say which Region this machine is in, with --region: links want its certificate",
		})
		return
	}
	keeper, err := pki.Keep(pki.Files(l.d.Links.TLS.For(l.o.Here)), l.o.Here, slog.New(slog.DiscardHandler))
	if err != nil {
		l.add(Row{State: Unknown, Part: "links", Seen: fmt.Sprintf("%s is open; who is there was not asked: %v", addr, err), Mend: "run it where the files are"})
		return
	}
	secure := tls.Client(conn, keeper.Client(l.region.Name, topology.Host(addr)))
	if err := secure.HandshakeContext(ctx); err != nil {
		l.add(Row{State: Fault, Part: "links", Seen: fmt.Sprintf("%s: %v", addr, err), Mend: "give its node a certificate of its Region: roam pki init"})
		return
	}
	l.add(judgeExpiry("links", "proves its Region,", "renew it: roam pki init --renew", pki.Until(secure.ConnectionState()), l.o.Now))
}

// health asks the Region's node how it is, where that can be done from here.
func (l *looker) health(ctx context.Context) {
	if l.elsewhere() {
		l.add(Row{
			State: Unknown, Part: "node", Seen: "its health is at " + l.region.Node.HTTP + " of its own machine",
			Mend: "run it there, with --region " + l.region.Name,
		})
		return
	}
	h, err := fetchHealth(ctx, "http://"+l.region.Node.HTTP+"/readyz")
	switch {
	case err != nil:
		l.add(Row{State: Fault, Part: "node", Seen: err.Error(), Mend: "look whether the node runs"})
	case h.Region != l.region.Name:
		l.add(Row{State: Fault, Part: "node", Seen: fmt.Sprintf("at %s is the node of %s", l.region.Node.HTTP, h.Region), Mend: "look at node.http in the file"})
	default:
		l.add(judgeHealth(h.Ready, h.Why, h.Warnings)...)
	}
}

// elsewhere reports whether the node's health is on the loopback of a machine that is
// not this one, as far as can be told: one machine has each address once.
func (l *looker) elsewhere() bool {
	ip := net.ParseIP(topology.Host(l.region.Node.HTTP))
	if ip == nil || !ip.IsLoopback() || l.region.Name == l.o.Here {
		return false
	}
	if l.o.Here != "" {
		here, _ := l.d.Region(l.o.Here)
		return here.Node.HTTP == l.region.Node.HTTP
	}
	for _, r := range l.d.Regions {
		if r.Name != l.region.Name && r.Node.HTTP == l.region.Node.HTTP {
			return true
		}
	}
	return false
}

// straight returns a client that asks whom it is told to, and nobody else: no proxy, and
// not where it is sent on to.
func straight() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func fetchHealth(ctx context.Context, url string) (h node.Health, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return h, err
	}
	res, err := straight().Do(req)
	if err != nil {
		return h, err
	}
	defer func() { _ = res.Body.Close() }() // it was read only
	if err := json.NewDecoder(io.LimitReader(res.Body, maxHealthBytes)).Decode(&h); err != nil {
		return h, fmt.Errorf("%s answers %s and not with its health: %w", url, res.Status, err)
	}
	return h, nil
}
