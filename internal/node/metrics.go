package node

import (
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/engine/memory"
	"github.com/roam-sessions/roam/internal/replica"
	"github.com/roam-sessions/roam/internal/tally"
)

// registry returns what /metrics shows: the process, and the node as it is when
// somebody looks. Labels hold names of Regions, fixed words and what roam.yaml has nodes keep,
// and no others: what applications report adds five rungs a Region, and the Regions that one
// writes to.
func (n *Node) registry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), watcher{n})
	return r
}

// A watcher collects a node's metrics.
type watcher struct{ node *Node }

// Describe names no metric: which there are depends on the engine and its peers.
func (watcher) Describe(chan<- *prometheus.Desc) {}

// Collect sends what is known at this moment.
func (w watcher) Collect(out chan<- prometheus.Metric) {
	n := w.node
	s := sample{out}
	h := n.Health()
	s.gauge("roam_node_info", "Which node this is; 1.", 1,
		"region", n.region.Name, "topology", n.deployment.Topology, "engine", h.Engine.Kind)
	s.gauge("roam_node_ready", "Whether /readyz says so.", truth(h.Ready))
	s.gauge("roam_engine_up", "Whether the engine answered when it was last asked.", truth(h.Engine.Answers))
	s.gauge("roam_engine_refilling", "Whether the engine was empty and some peer has not given all it has.", truth(h.Engine.Refilling))
	if n.keeper != nil {
		s.gauge("roam_certificate_expiry_timestamp_seconds", "When the certificate for links ends.", float64(n.keeper.Expiry().Unix()))
	}
	n.mu.Lock()
	e, r, chase, primary, asked := n.engine, n.replica, n.chase, n.primary, n.asked
	n.mu.Unlock()
	if asked.err == nil {
		s.gauge("roam_log_head_entries", "Entries ever logged by the engine's present actors, as last asked.", entries(&asked.head))
	}
	if m, ok := engine.As[*memory.Engine](e); ok && e != nil {
		st := m.Stats()
		s.gauge("roam_engine_records", "Records kept.", float64(st.Records))
		s.gauge("roam_engine_bytes", "Bytes of records.", float64(st.Bytes))
		s.gauge("roam_engine_max_bytes", "Bytes that records may have: births are refused from 80 % on.", float64(st.MaxBytes))
		s.gauge("roam_engine_log_bytes", "Bytes of the log.", float64(st.LogBytes))
	}
	w.control(s)
	if chase != nil && n.follows(primary) {
		if age, ok := chase.Heard(0); ok {
			s.gauge("roam_peer_heard_age_seconds", heardHelp, age.Seconds(), "peer", primary)
		}
		if lag := chase.Lag(0); lag > 0 {
			s.gauge("roam_primary_lag_seconds", "How late a write of the primary gets to the server here, as last measured.", lag.Seconds(), "peer", primary)
		}
	}
	w.copies(s)
	if r == nil {
		return
	}
	st := r.Status()
	for i := range st.Peers {
		w.peer(s, r, &st.Peers[i], &st.Sources[i])
	}
}

// control sends what is known of the control plane.
func (w watcher) control(s sample) {
	n := w.node
	if n.seat == nil {
		return
	}
	w.apps(s)
	w.names(s)
	m, _ := n.seat.seated()
	s.gauge("roam_control_seated", "Whether this node takes part in the control plane.", truth(m != nil))
	if m == nil {
		return
	}
	st := m.Status()
	open := 0
	for _, r := range st.State.Receipts {
		if r.Closed.IsZero() {
			open++
		}
	}
	s.gauge("roam_control_leads", "Whether this node's member leads the quorum.", truth(st.Leader == st.Self))
	s.gauge("roam_control_led", "Whether it knows of a leader.", truth(st.Leader != ""))
	s.gauge("roam_receipts_open", "Failovers whose cost is not known yet.", float64(open))
	if l := st.State.Lease; l.Epoch > 0 {
		s.gauge("roam_lease_epoch", "The epoch of the lease, as agreed.", float64(l.Epoch), "region", l.Holder)
		s.gauge("roam_lease_held", "Whether the server here may take writes by it.", truth(st.Holds == l.Epoch))
	}
}

// names sends how what says outside of Roam where the writer is fares.
func (w watcher) names(s sample) {
	if w.node.names == nil {
		return
	}
	for _, k := range w.node.names.all {
		is := w.node.names.fareOf(k).state
		for _, state := range fareStates() {
			s.gauge("roam_names", "How what says where the writer is fares: 1 of one state, 0 of the others.", truth(is == state), "kind", k.kind, "name", k.name, "state", state)
		}
		st := k.stats()
		s.counter("roam_names_changes_total", "Changes that were made here, and seen to be; of the metric, how often it was told.", float64(st.Published), "kind", k.kind, "name", k.name)
		s.counter("roam_names_failures_total", "Times that all tries failed.", float64(st.Failed), "kind", k.kind, "name", k.name)
	}
}

// apps sends what applications have told.
func (w watcher) apps(s sample) {
	for _, t := range w.node.seat.apps.totals(time.Now()) {
		s.gauge("roam_apps", "Applications of the Region that reported here within the last minute.", float64(t.apps), "region", t.region)
		for i, n := range t.all.Answers {
			s.counter("roam_app_answers_total", "Answers of applications, as they reported here, by rung.", float64(n), "region", t.region, "rung", tally.RungName(i))
		}
		for _, to := range slices.Sorted(maps.Keys(t.all.Writes)) {
			wrote := t.all.Writes[to]
			s.counter("roam_app_writes_total", "Writes of applications, as they reported here, by where they belonged.", float64(wrote.Took.Count()), "region", t.region, "to", to)
			s.counter("roam_app_write_failures_total", "Those that were not taken where they belonged.", float64(wrote.Failed), "region", t.region, "to", to)
		}
		if t.share != nil {
			s.gauge("roam_app_degraded_share", "Of the last answers that were reported, those below the rung normal; absent: there were too few.", *t.share, "region", t.region)
		}
	}
}

const heardHelp = "How old is what has been heard of the peer's writes."

// peer sends what is known of one peer, of pushing to it and of what it pushes.
func (w watcher) peer(s sample, r *replica.Replica, p *replica.Peer, src *replica.Source) {
	name := w.node.name(p.Region)
	gauge := func(metric, help string, value float64) { s.gauge(metric, help, value, "peer", name) }
	count := func(metric, help string, value uint64) { s.counter(metric, help, float64(value), "peer", name) }
	s.gauge("roam_peer_connected", "Whether there is a link.", truth(p.Connected), "peer", name, "direction", "out")
	s.gauge("roam_peer_connected", "Whether there is a link.", truth(src.Connected), "peer", name, "direction", "in")
	if age, ok := r.Heard(p.Region); ok { // else there is none: an alert asks for absent() too
		gauge("roam_peer_heard_age_seconds", heardHelp, age.Seconds())
	}
	b := w.node.breakers[p.Region].view()
	for _, state := range []string{breakerClosed, breakerHalfOpen, breakerOpen} {
		s.gauge("roam_peer_breaker", "How the peer is dialled: 1 of one state, 0 of the others.", truth(b.state == state), "peer", name, "state", state)
	}
	for _, reason := range reasons() {
		s.counter("roam_peer_link_failures_total", "Tries that made no link, and links that ended, by why.", float64(b.counts[reason]), "peer", name, "reason", reason)
	}
	gauge("roam_peer_dial_deadline_seconds", "How long a try to make a link may take.", b.deadline.Seconds())
	gauge("roam_peer_rtt_seconds", "Round trip of the last heartbeat; 0: none yet.", p.RTT.Seconds())
	gauge("roam_peer_lag_entries", "Entries of the log that the peer is not known to hold.", float64(p.LagEntries))
	gauge("roam_peer_lag_seconds", "How long the oldest entry sent has waited for its acknowledgement.", p.LagTime.Seconds())
	gauge("roam_peer_acked_entries", "How far the peer's engine holds the log.", entries(&p.Acked))
	gauge("roam_peer_unacked_bytes", "Bytes sent and not acknowledged.", float64(p.Unacked))
	gauge("roam_peer_taken_in_entries", "How far the engine here holds the peer's log.", entries(&src.At))
	t := &w.node.traffic
	s.counter("roam_peer_bytes_total", "Bytes of links, within TLS.", float64(t.out[p.Region].Load()), "peer", name, "direction", "out")
	s.counter("roam_peer_bytes_total", "Bytes of links, within TLS.", float64(t.in[p.Region].Load()), "peer", name, "direction", "in")
	s.counter("roam_peer_entries_total", "Entries sent, or taken in.", float64(p.Counts.Entries), "peer", name, "direction", "out")
	s.counter("roam_peer_entries_total", "Entries sent, or taken in.", float64(src.Counts.Entries), "peer", name, "direction", "in")
	count("roam_peer_batches_total", "Batches taken in.", src.Counts.Batches)
	s.counter("roam_peer_gap_records_total", "Records sent or asked for because of gaps.", float64(p.Counts.Pulls), "peer", name, "direction", "out")
	s.counter("roam_peer_gap_records_total", "Records sent or asked for because of gaps.", float64(src.Counts.Pulls), "peer", name, "direction", "in")
	s.counter("roam_peer_holes_total", "Holes in the log's numbers.", float64(p.Counts.Holes), "peer", name, "direction", "out")
	s.counter("roam_peer_holes_total", "Holes in the log's numbers.", float64(src.Counts.Holes), "peer", name, "direction", "in")
	count("roam_peer_redeliveries_total", "Partitions sent again because no acknowledgement came.", p.Counts.Redeliveries)
	count("roam_peer_resyncs_total", "Partitions whose whole state the peer needed.", p.Counts.Resyncs)
	count("roam_peer_resync_records_total", "Records sent by resyncs.", p.Counts.States)
	count("roam_peer_compared_partitions_total", "Partitions compared by anti-entropy.", p.Counts.Compared)
	count("roam_peer_diverged_buckets_total", "Buckets that differed though nothing was on its way: should stay 0.", p.Counts.Diverged)
	count("roam_peer_repaired_records_total", "Records sent because buckets differed.", p.Counts.Repaired)
	count("roam_peer_successions_total", "Failovers in the peer that lost entries, or may have.", src.Counts.Successions)
}

func entries(at *engine.Positions) float64 {
	var n float64
	for _, p := range at {
		n += float64(p.N)
	}
	return n
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// A sample sends metrics; labels are pairs of name and value.
type sample struct{ out chan<- prometheus.Metric }

func (s sample) gauge(metric, help string, value float64, labels ...string) {
	s.send(metric, help, prometheus.GaugeValue, value, labels)
}

func (s sample) counter(metric, help string, value float64, labels ...string) {
	s.send(metric, help, prometheus.CounterValue, value, labels)
}

func (s sample) send(metric, help string, kind prometheus.ValueType, value float64, labels []string) {
	var names, values []string
	for i := 0; i < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, labels[i+1])
	}
	s.out <- prometheus.MustNewConstMetric(prometheus.NewDesc(metric, help, names, nil), kind, value, values...)
}
