package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/opener"
	"github.com/roam-sessions/roam/internal/pki"
	"github.com/roam-sessions/roam/internal/replica"
	"github.com/roam-sessions/roam/internal/router"
	"github.com/roam-sessions/roam/internal/steer"
)

const (
	// probeEvery is how often the engine is asked; probeTimeout, how long it may
	// take. What health says of it is at most both together old.
	probeEvery   = time.Second
	probeTimeout = time.Second
)

// An answer is what the engine said when it was last asked.
type answer struct {
	head engine.Positions // zero where it has no log, or did not answer
	err  error            // it did not answer
}

// probe asks the engine until ctx ends.
func (n *Node) probe(ctx context.Context, e engine.Engine) {
	ask := func(ctx context.Context) (engine.Positions, error) {
		_, err := e.Read(ctx, crdt.UserKey(""), crdt.Token{}) // whoever that is
		return engine.Positions{}, err
	}
	if log, ok := engine.As[engine.Log](e); ok {
		ask = log.Head
	}
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		n.look(ctx, ask)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (n *Node) look(ctx context.Context, ask func(context.Context) (engine.Positions, error)) {
	asking, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var a answer
	if a.head, a.err = ask(asking); a.err != nil && engine.Answered(a.err) && !errors.Is(a.err, engine.ErrClosed) {
		a.err = nil // it said something
	}
	if ctx.Err() != nil {
		return // the node ends
	}
	n.mu.Lock()
	changed := n.known && (a.err == nil) != (n.asked.err == nil)
	n.asked, n.known = a, true
	n.mu.Unlock()
	if changed && a.err != nil {
		n.config.Log.Warn("the engine does not answer", "err", a.err)
	} else if changed {
		n.config.Log.Info("the engine answers again")
	}
}

// looksAt is how the control plane looks at an engine that has no lease.
func (n *Node) looksAt(context.Context) (steer.Server, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.failure != nil:
		return steer.Server{}, n.failure
	case !n.known:
		return steer.Server{}, errOpening
	}
	return steer.Server{Primary: true}, n.asked.err
}

// A Health is what /readyz says.
type Health struct {
	Region string `json:"region"`
	// Ready: this Region's part works. Peers that are away do not change that: a
	// Region goes on without them, and is not to be taken out of service for it.
	Ready bool `json:"ready"`
	// Why tells why not.
	Why []string `json:"why"`
	// Warnings tell what somebody should look at.
	Warnings []string     `json:"warnings"`
	Engine   EngineHealth `json:"engine"`
	// Links: this node pushes its log to peers.
	Links bool         `json:"links"`
	Peers []PeerHealth `json:"peers"`
}

// An EngineHealth is what is known of the engine.
type EngineHealth struct {
	Kind      string `json:"kind"`
	Answers   bool   `json:"answers"`
	Refilling bool   `json:"refilling"`
}

// A PeerHealth is what is known of one peer.
type PeerHealth struct {
	Region string `json:"region"`
	// Pushing: there is a link to it. Pushed: there is one from it.
	Pushing bool `json:"pushing"`
	Pushed  bool `json:"pushed"`
	// HeardSeconds is how old is what has been heard of its writes; null: nothing
	// has been since the node started.
	HeardSeconds *float64 `json:"heard_seconds"`
	// LagSeconds is how late a write of the peer gets here where servers replicate by
	// themselves, as last measured; null: it was not, or nodes push.
	LagSeconds *float64 `json:"lag_seconds"`
	LagEntries uint64   `json:"lag_entries"`
	RTTSeconds float64  `json:"rtt_seconds"`
	LastError  string   `json:"last_error"`
	// Breaker is how it is tried for a link to the peer, and null where none is.
	Breaker *BreakerHealth `json:"breaker"`
}

// A BreakerHealth is how a peer is dialled.
type BreakerHealth struct {
	// State is "closed" as long as all is well, "open" while the peer is taken for
	// away, "half-open" while one try, or a link that has yet to last, shows whether it
	// is.
	State string `json:"state"`
	// Reason is why the last try or link failed: refused, timeout, name, identity,
	// expired or ended; empty if none did since the last link that lasted.
	Reason string `json:"reason"`
	// Failures counts those in a row.
	Failures int `json:"failures"`
	// NextTrySeconds is how long nobody tries; DeadlineSeconds, how long a try may take.
	NextTrySeconds  float64 `json:"next_try_seconds"`
	DeadlineSeconds float64 `json:"deadline_seconds"`
}

// Health returns how the node is.
func (n *Node) Health() Health {
	n.mu.Lock()
	r, chase, primary, failure, asked, known := n.replica, n.chase, n.primary, n.failure, n.asked, n.known
	n.mu.Unlock()
	h := Health{
		Region: n.region.Name, Links: n.deployment.Pushes(), Why: []string{}, Warnings: []string{}, Peers: []PeerHealth{},
		Engine: EngineHealth{Kind: n.region.Engine.Kind(), Answers: failure == nil && known && asked.err == nil},
	}
	switch {
	case failure != nil:
		h.Why = append(h.Why, failure.Error())
	case !known:
		h.Why = append(h.Why, "the engine has not been asked yet")
	case asked.err != nil:
		h.Why = append(h.Why, "the engine does not answer: "+asked.err.Error())
	}
	h.Ready = len(h.Why) == 0
	if r != nil {
		n.peersHealth(&h, r)
	}
	n.copiesHealth(&h)
	if primary = cmp.Or(primary, n.deployment.Primary); n.follows(primary) {
		h.Peers = append(h.Peers, n.primaryHealth(&h, primary, chase))
	}
	if _, err := n.seat.seated(); err != nil {
		h.Warnings = append(h.Warnings, "this node takes no part in the control plane: "+err.Error())
	}
	for _, name := range n.names.report() {
		if name.State == refused || name.State == pending && time.Since(name.Since) > pendingLong {
			h.Warnings = append(h.Warnings, fmt.Sprintf("%s is %s: %s. What to do: %s", name.Name, name.State, name.Why, name.Next))
		}
	}
	if n.keeper != nil {
		if left := time.Until(n.keeper.Expiry()); left < pki.ExpirySoon {
			h.Warnings = append(h.Warnings, fmt.Sprintf(`the certificate ends in %d hours: run "roam pki init --renew"`, int(left.Hours())))
		}
	}
	return h
}

// primaryHealth is what is known of the primary, whose server replicates to the one
// here by itself.
func (n *Node) primaryHealth(h *Health, primary string, chase *opener.Chase) PeerHealth {
	ph := PeerHealth{Region: primary}
	if chase == nil {
		n.heard(h, &ph, 0, false)
		return ph
	}
	if err := chase.Err(); err != nil {
		ph.LastError = err.Error()
	}
	age, ok := chase.Heard(0)
	n.heard(h, &ph, age, ok)
	if lag := chase.Lag(0); lag > 0 {
		seconds := lag.Seconds()
		ph.LagSeconds = &seconds
	}
	return ph
}

func (n *Node) peersHealth(h *Health, r *replica.Replica) {
	st := r.Status()
	if h.Engine.Refilling = st.Refilling; st.Refilling {
		h.Warnings = append(h.Warnings, "the engine was empty and is being refilled: what it does not have may exist")
	}
	for i, p := range st.Peers {
		name := n.name(p.Region)
		ph := PeerHealth{
			Region: name, Pushing: p.Connected, Pushed: st.Sources[i].Connected,
			LagEntries: p.LagEntries, RTTSeconds: p.RTT.Seconds(), LastError: p.LastError,
		}
		b := n.breakers[p.Region].view()
		ph.Breaker = &BreakerHealth{
			State: b.state, Reason: b.reason, Failures: b.failures,
			NextTrySeconds: b.wait.Seconds(), DeadlineSeconds: b.deadline.Seconds(),
		}
		age, ok := r.Heard(p.Region)
		n.heard(h, &ph, age, ok)
		h.Peers = append(h.Peers, ph)
	}
}

// heard notes how old the last news of a peer is, and warns where strict routes do not
// live with it.
func (n *Node) heard(h *Health, ph *PeerHealth, age time.Duration, ok bool) {
	bound := cmp.Or(n.deployment.Policies.Timeouts.StrictBound, router.DefaultStrictBound)
	if !ok {
		h.Warnings = append(h.Warnings, "nothing has been heard of "+ph.Region)
		return
	}
	seconds := age.Seconds()
	ph.HeardSeconds = &seconds
	if age > bound {
		h.Warnings = append(h.Warnings, fmt.Sprintf("%s was last heard of %v ago: strict routes refuse", ph.Region, age.Round(time.Second)))
	}
}

// follows reports whether the server here replicates the primary's by itself.
func (n *Node) follows(primary string) bool {
	return len(n.peers) > 0 && !n.deployment.Pushes() && primary != "" && primary != n.region.Name
}

// name returns the name of a peer.
func (n *Node) name(id crdt.Region) string {
	for _, p := range n.peers {
		if p.ID == id {
			return p.Name
		}
	}
	return ""
}

// serveHTTP serves health and metrics until ctx ends.
func (n *Node) serveHTTP(ctx context.Context, l net.Listener) {
	const (
		patience = 10 * time.Second // of either side
		header   = 16 << 10
		grace    = time.Second // for answers under way at the end
		scrapes  = 4           // at a time; more are refused
	)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok\n")) // who does not read it has gone
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		h := n.Health()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if !h.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		out := json.NewEncoder(w)
		out.SetIndent("", "  ")
		_ = out.Encode(h) // who does not read it has gone
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(n.registry(), promhttp.HandlerOpts{MaxRequestsInFlight: scrapes, Timeout: patience}))
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: patience, ReadTimeout: patience, WriteTimeout: 2 * patience,
		IdleTimeout: time.Minute, MaxHeaderBytes: header,
	}
	n.wg.Go(func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			n.config.Log.Error("health and metrics are not served any more", "err", err)
		}
	})
	n.wg.Go(func() {
		<-ctx.Done()
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		if server.Shutdown(ending) != nil {
			_ = server.Close() // nobody is left to tell
		}
	})
}
