//go:build integration

package sidebyside_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	roamvalkey "github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/fault"
	"github.com/roam-sessions/roam/internal/replica"
	"github.com/roam-sessions/roam/internal/sidebyside"
	"github.com/roam-sessions/roam/internal/valkeytest"
)

const (
	// written are the sessions that writes go to in turn: at the highest rate each is
	// written once a second or so.
	written = 10_000
	// writers bounds the writes under way. Where they are not enough the rate is not
	// reached, and the figure's note says so.
	writers = 256
	// runSlices is how many slices a round at one rate lasts.
	runSlices = 10
	// arriveTimeout bounds the wait for what was written to be in the other Region.
	arriveTimeout = time.Minute
)

// arrivals is an engine that knows when writes of a run came to it.
type arrivals struct {
	*roamvalkey.Engine
	run atomic.Pointer[run]
}

// A run is the writes of one round. Each carries its number.
type run struct {
	id        uint64
	begun     time.Time
	committed []atomic.Int64 // nanoseconds after begun, by number; zero: not yet
	arrived   []atomic.Int64
	left      atomic.Int64 // how many have yet to arrive
	all       chan struct{}
	batches   atomic.Int64 // in which they came
	merging   atomic.Int64 // nanoseconds in which a batch was being merged
}

func newRun(id uint64, n int) *run {
	r := &run{id: id, begun: time.Now(), committed: make([]atomic.Int64, n), arrived: make([]atomic.Int64, n), all: make(chan struct{})}
	r.left.Store(int64(n))
	return r
}

// value is what the i-th write writes.
func (r *run) value(i int) []byte {
	v := binary.BigEndian.AppendUint64(make([]byte, 0, fieldBytes), r.id)
	v = binary.BigEndian.AppendUint64(v, uint64(i)) //nolint:gosec // not negative
	return v[:fieldBytes]
}

// saw takes in that a value has arrived, the first time.
func (r *run) saw(v []byte, now time.Time) {
	if len(v) != fieldBytes || binary.BigEndian.Uint64(v) != r.id {
		return
	}
	i := binary.BigEndian.Uint64(v[8:])
	if r.arrived[i].CompareAndSwap(0, int64(now.Sub(r.begun))) && r.left.Add(-1) == 0 {
		close(r.all)
	}
}

// Ingest takes in a batch, and then knows that it is there.
func (a *arrivals) Ingest(ctx context.Context, from crdt.Region, b engine.Batch) (engine.Ingested, error) {
	begun := time.Now()
	got, err := a.Engine.Ingest(ctx, from, b)
	now, r := time.Now(), a.run.Load()
	if r != nil {
		r.batches.Add(1)
		r.merging.Add(int64(now.Sub(begun)))
	}
	if err != nil || got.Hole || len(got.Gaps) > 0 || r == nil {
		return got, err
	}
	for _, f := range b.Frags {
		if v, ok := f.Effect.Value(fieldName(0)); ok {
			r.saw(v, now)
		}
	}
	return got, nil
}

// A land is two Regions with real servers, and links of 35 ms between their replicas.
type land struct {
	servers [2]*valkeytest.Server
	crowd   crowd     // of the first Region
	far     *arrivals // the second one's engine
	probe   *probe
	runs    uint64
}

func newLand(b *testing.B) *land {
	b.Helper()
	l := &land{}
	network := fault.NewNet(1)
	names := [2]string{"west", "east"}
	var listeners [2]net.Listener
	var addrs [2]string // of the way to a Region from the other one
	for i := range names {
		from := names[1-i]
		network.SetLink(from, names[i], fault.Replication, fault.Link{Delay: sidebyside.OneWay * time.Millisecond})
		listener, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		proxy, err := network.Proxy(b.Context(), from, names[i], fault.Replication, listener.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = proxy.Close() }) // never fails
		listeners[i], addrs[i] = listener, proxy.Addr()
	}
	for i := range names {
		l.servers[i] = valkeytest.Start(b)
		here := crdt.Region(i + 1) //nolint:gosec // 1 or 2
		e := open(b, here, roamvalkey.Config{Addrs: []string{l.servers[i].Addr}, Replicated: true})
		far := &arrivals{Engine: e}
		if i == 0 {
			l.crowd = newCrowd(e)
		} else {
			l.far = far
		}
		link(b, here, far, listeners[i], addrs[1-i])
	}
	l.probe = newProbe(b, network, names[0], names[1])
	return l
}

// link runs the replica of a Region until the benchmark ends.
func link(b *testing.B, here crdt.Region, e engine.Engine, listener net.Listener, peer string) {
	b.Helper()
	dial := func(ctx context.Context, _ crdt.Region) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", peer)
	}
	r, err := replica.New(b.Context(), here, e, []crdt.Region{3 - here}, dial, replica.Config{})
	if err != nil {
		b.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- r.Serve(b.Context(), listener) }()
	b.Cleanup(func() {
		if err := errors.Join(r.Close(), <-served); err != nil {
			b.Error(err)
		}
	})
}

// settle makes the sessions and waits until the other Region has them.
func (l *land) settle(b *testing.B) {
	b.Helper()
	each(b, "sessions", written, l.crowd.bear)
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		here, err := l.crowd.engine.Head(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		there, err := l.far.Positions(b.Context(), 1)
		if err != nil {
			b.Fatal(err)
		}
		if here == there {
			return
		}
		if time.Since(begun) > arriveTimeout {
			b.Fatalf("the sessions are not in the other Region after %v", arriveTimeout)
		}
	}
}

// A result is what became of a run.
type result struct {
	delays  []float64 // in milliseconds
	rate    float64   // writes a second there really were
	batch   float64   // writes in a batch
	merging float64   // share of the time in which a batch was being merged
}

// write writes at a rate for so long, and returns when all has arrived.
func (l *land) write(b *testing.B, rate int, during time.Duration) (out result) {
	b.Helper()
	n := max(1, int(float64(rate)*during.Seconds()))
	l.runs++
	r := newRun(l.runs, n)
	l.far.run.Store(r)
	due := make(chan int, n)
	failed := make([]error, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range due {
				op := crdt.Op{Stamp: stamp(), Changes: []crdt.Change{crdt.Put(fieldName(0), r.value(i))}}
				if _, err := l.crowd.engine.Apply(b.Context(), l.crowd.key(i%written), op); err != nil {
					failed[w] = err
					return
				}
				r.committed[i].Store(int64(time.Since(r.begun)))
			}
		})
	}
	for i := 0; i < n; time.Sleep(time.Millisecond) { // writes come when they come, not when others are done
		for ; i < n && float64(i) <= time.Since(r.begun).Seconds()*float64(rate); i++ {
			due <- i
		}
	}
	close(due)
	wg.Wait()
	took := time.Since(r.begun)
	if err := errors.Join(failed...); err != nil {
		b.Fatal(err)
	}
	select {
	case <-r.all:
	case <-time.After(arriveTimeout):
		b.Fatalf("%d of %d writes have not arrived after %v", r.left.Load(), n, arriveTimeout)
	}
	for i := range n {
		out.delays = append(out.delays, float64(r.arrived[i].Load()-r.committed[i].Load())/float64(time.Millisecond))
	}
	out.rate, out.batch = float64(n)/took.Seconds(), float64(n)/float64(r.batches.Load())
	out.merging = float64(r.merging.Load()) / float64(time.Since(r.begun))
	return out
}

// BenchmarkDelay is of writes in one Region until they are in the other one.
func BenchmarkDelay(b *testing.B) {
	l := newLand(b)
	l.settle(b)
	for _, rate := range sidebyside.Rates() {
		b.Run(fmt.Sprintf("rate=%d", rate), func(b *testing.B) {
			row50, row99 := sidebyside.DelayAt(rate)
			at50, at99 := sidebyside.Measured{Row: row50}, sidebyside.Measured{Row: row99}
			var ran notes
			for b.Loop() {
				before, stop := usage(b, l), l.probe.send(b)
				got := l.write(b, rate, runSlices**slice)
				ran.add(got, usage(b, l).since(before), stop())
				at50.Ours = append(at50.Ours, sidebyside.Quantile(got.delays, 0.5))
				at99.Ours = append(at99.Ours, sidebyside.Quantile(got.delays, 0.99))
				at50.Base, at99.Base = append(at50.Base, sidebyside.OneWay), append(at99.Base, sidebyside.OneWay)
			}
			at50.Note, at99.Note = ran.String(), fmt.Sprintf("bare messages on a link beside it took %.1f ms", median(ran.bare99))
			report(b, at99)
			b.ReportMetric(sidebyside.Quantile(at99.Ours, 0.5), "p99-ms")
			report(b, at50) // its metrics take the place of those of the same names
		})
	}
}

// notes are what rounds say besides their delays.
type notes struct{ rate, batch, merging, ours, machine, bare50, bare99 []float64 }

func (n *notes) add(r result, busy used, bare []float64) {
	for _, x := range []struct {
		to    *[]float64
		value float64
	}{
		{&n.rate, r.rate},
		{&n.batch, r.batch},
		{&n.merging, 100 * r.merging},
		{&n.ours, busy.ours},
		{&n.machine, busy.machine},
		{&n.bare50, sidebyside.Quantile(bare, 0.5)},
		{&n.bare99, sidebyside.Quantile(bare, 0.99)},
	} {
		*x.to = append(*x.to, x.value)
	}
}

func median(of []float64) float64 { return sidebyside.Quantile(of, 0.5) }

// String tells the medians.
func (n *notes) String() string {
	return fmt.Sprintf("%.0f writes/s, in batches of %.1f, whose merges took %.0f %% of the time; of %d cores it kept %.1f busy, and all that "+
		"ran on the machine %.1f; bare messages on a link beside it took %.1f ms",
		median(n.rate), median(n.batch), median(n.merging), runtime.NumCPU(), median(n.ours), median(n.machine), median(n.bare50))
}

// A used is how much processor time was spent up to a moment, in seconds; or, of what is
// between two, how many cores were busy.
type used struct {
	at            time.Time
	ours, machine float64 // this process and its servers; everything on the machine
}

func (u used) since(before used) used {
	s := u.at.Sub(before.at).Seconds()
	return used{ours: (u.ours - before.ours) / s, machine: (u.machine - before.machine) / s}
}

func usage(b *testing.B, l *land) used {
	b.Helper()
	var self syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &self); err != nil {
		b.Fatal(err)
	}
	u := used{at: time.Now(), ours: float64(self.Utime.Nano()+self.Stime.Nano()) / 1e9}
	for _, s := range l.servers {
		u.ours += info(b, s, "cpu", "used_cpu_sys") + info(b, s, "cpu", "used_cpu_user")
	}
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		b.Fatal(err)
	}
	// user nice system idle iowait irq softirq steal: in hundredths of a second.
	words := strings.Fields(strings.SplitN(string(stat), "\n", 2)[0])
	for i, word := range words[1:min(9, len(words))] {
		n, err := strconv.ParseFloat(word, 64)
		if err != nil {
			b.Fatal(err)
		}
		if i != 3 && i != 4 {
			u.machine += n / 100
		}
	}
	return u
}
