package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/roam-sessions/roam/engine/valkey"
	"github.com/roam-sessions/roam/internal/console"
	"github.com/roam-sessions/roam/internal/fault"
	"github.com/roam-sessions/roam/internal/valkeyserver"
)

const (
	// syncTimeout is how long a server may take to get all that another one has: some
	// round trips, and a second or two where that one is giving it to a third just then.
	syncTimeout = 10 * time.Second
	// handOverTimeout is how long a server may take to become what the others replicate.
	// It hears once a second how far its replica is, so that is what it takes.
	handOverTimeout = 5 * time.Second
	// lookEvery is between two looks at whether that is so.
	lookEvery = 10 * time.Millisecond
	// silence is for how long a stream may be silent that stands: a server says
	// something each second.
	silence = 3 * time.Second
)

// nativeArgs are what servers are told that replicate each other. Until it has all that
// the other one has a replica answers nobody: what it lacks is not known to be nowhere.
// Then settled has it go on with what it has when the other one is out of reach.
func nativeArgs() []string {
	return []string{
		"--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1", "--replica-serve-stale-data", "no",
	}
}

// native reports whether the servers of Regions replicate the primary's by themselves.
// Else each Region pushes its log to the others.
func (d *deployment) native() bool {
	return d.lab.config.Engine == Valkey && d.topology == console.ActivePassive
}

// carries reports whether what one Region writes is brought to another.
func (d *deployment) carries(from, to *region) bool {
	return from != to && (!d.native() || from.id == d.primary())
}

// A natively is how the servers of Regions replicate each other, through proxies, over
// the Replication plane. All of it but head is as it began, and head is used by whoever has
// claimed the lab. Nil is for Regions that push: nothing begins, opens or closes.
type natively struct {
	servers  *servers
	patience time.Duration              // with a server that is being filled
	head     *region                    // whose server those of the others replicate
	streams  map[route]*fault.Proxy     // from a Region to the main server of another
	sources  map[*region]*valkey.Engine // the primary's, as secondaries see it over such a stream
}

// begin has the servers of secondaries replicate the primary's. All of them are empty.
func (n *natively) begin(ctx context.Context) error {
	if n == nil {
		return nil
	}
	d := n.servers.deployment
	n.head = d.regionByID(d.primary())
	n.streams, n.sources = map[route]*fault.Proxy{}, map[*region]*valkey.Engine{}
	for at := range n.servers.routes {
		p, err := d.net.Proxy(context.WithoutCancel(ctx), at.from.name, at.to.name, fault.Replication, n.main(at.to).Addr())
		if err != nil {
			return err
		}
		n.streams[at] = p
	}
	// Replicas have their functions from the primary.
	loader, err := n.servers.engine(ctx, n.head.id, n.main(n.head).Addr(), false)
	if err != nil {
		return fmt.Errorf("load functions in %s: %w", n.head.name, err)
	}
	if err := loader.Close(); err != nil {
		return err
	}
	return each(n.servers.machines, func(r *region, _ *machine) error {
		if r == n.head {
			return nil
		}
		if err := n.follow(ctx, r); err != nil {
			return err
		}
		return n.settled(ctx, r)
	})
}

// open opens the primary's engine as secondaries see it.
func (n *natively) open(ctx context.Context) error {
	if n == nil {
		return nil
	}
	var mu sync.Mutex // guards sources
	return each(n.streams, func(at route, p *fault.Proxy) error {
		if at.to != n.head {
			return nil
		}
		source, err := n.servers.engine(ctx, n.head.id, p.Addr(), false)
		if err != nil {
			return fmt.Errorf("reach %s from %s: %w", n.head.name, at.from.name, err)
		}
		mu.Lock()
		defer mu.Unlock()
		n.sources[at.from] = source
		return nil
	})
}

// own returns the engines of a Region, and what tells how old a secondary's are.
func (n *natively) own(ctx context.Context, r *region, main, side *valkey.Engine) own {
	o := own{main: main, side: side, close: true}
	if source := n.sources[r]; source != nil {
		o.echo = valkey.NewEcho(ctx, source, main, valkey.EchoConfig{})
	}
	return o
}

func (n *natively) main(r *region) *valkeyserver.Server { return n.servers.machines[r].main }

// at returns where a Region's server finds that of another.
func (n *natively) at(from, to *region) (host, port string) {
	host, port, _ = net.SplitHostPort(n.streams[route{from, to}].Addr()) // a listener's
	return host, port
}

// announcing is what a Region's server says to one that it follows: where that one finds
// it, should it ever follow it in turn.
func (n *natively) announcing(r, head *region) []string {
	host, port := n.at(head, r)
	return []string{"replica-announce-ip", host, "replica-announce-port", port}
}

// follow has a Region's server replicate the head's, from when it gets there.
func (n *natively) follow(ctx context.Context, r *region) error {
	host, port := n.at(r, n.head)
	_, err := n.main(r).DoAll(ctx,
		append([]string{"CONFIG", "SET"}, n.announcing(r, n.head)...),
		[]string{"REPLICAOF", host, port},
	)
	if err != nil {
		return fmt.Errorf("have the server of %s replicate that of %s: %w", r.name, n.head.name, err)
	}
	return nil
}

// gather has the servers of all Regions that are alive replicate the head's.
func (n *natively) gather(ctx context.Context) error {
	d := n.servers.deployment
	var errs []error
	for _, r := range d.byDistance(n.head) {
		if d.net.Alive(r.name) {
			errs = append(errs, n.follow(ctx, r))
		}
	}
	return errors.Join(errs...)
}

// settled waits until a Region's server has all that the head's has, and lets it show
// that.
func (n *natively) settled(ctx context.Context, r *region) error {
	ctx, cancel := context.WithTimeout(ctx, n.patience)
	defer cancel()
	for !linked(n.info(ctx, r)) {
		if err := pause(ctx, lookEvery); err != nil {
			return fmt.Errorf("the server of %s can't get from that of %s what it had: %w", r.name, n.head.name, err)
		}
	}
	_, err := n.main(r).Do(ctx, "CONFIG", "SET", "replica-serve-stale-data", "yes")
	return err
}

// info returns what a Region's server says of its replication; nothing if it does not
// answer.
func (n *natively) info(ctx context.Context, r *region) string {
	text, _ := n.main(r).Do(ctx, "INFO", "replication") // who asks looks again
	return text
}

// linked reports whether a server follows one and has had all of it.
func linked(info string) bool {
	return infoText(info, "role") == "slave" && infoText(info, "master_link_status") == "up"
}

// elect returns the Region whose server the others replicate; nil: none lives. If that
// Region has died, the one whose server has got most of what its had becomes that, the
// nearest of equals: what another one had beyond that would be lost.
func (n *natively) elect(ctx context.Context) (*region, error) {
	d := n.servers.deployment
	next, most := n.head, int64(-1)
	if !d.net.Alive(n.head.name) {
		next = nil
	}
	for _, r := range d.byDistance(n.head) {
		if next == n.head || !d.net.Alive(r.name) {
			continue
		}
		text, err := n.main(r).Do(ctx, "INFO", "replication")
		if err != nil {
			return nil, fmt.Errorf("ask the server of %s what it has: %w", r.name, err)
		}
		if has := number(infoText(text, "slave_repl_offset")); has > most {
			next, most = r, has
		}
	}
	if next == nil {
		return nil, nil //nolint:nilnil // nobody lives, and nothing went wrong
	}
	if _, err := n.main(next).Do(ctx, "REPLICAOF", "NO", "ONE"); err != nil {
		return nil, fmt.Errorf("promote the server of %s: %w", next.name, err)
	}
	n.head = next
	return next, n.gather(ctx)
}

// rejoin starts the main server of a Region that is dead, empty, and tells what became of
// it. Were the others to replicate it now they would be as empty. So it begins as a
// replica, which gives nobody anything before it has got all itself, of one that nobody
// has follow it.
func (n *natively) rejoin(ctx context.Context, r *region) (tale string, err error) {
	d := n.servers.deployment
	head, err := n.elect(ctx)
	if err != nil {
		return "", err
	}
	var args []string
	if head != nil {
		host, port := n.at(r, head)
		args = []string{"--replicaof", host + " " + port}
		for i, word := range n.announcing(r, head) {
			if i%2 == 0 {
				word = "--" + word
			}
			args = append(args, word)
		}
	}
	if err := n.main(r).Restart(ctx, args...); err != nil {
		return "", err
	}
	d.net.Revive(r.name)
	if head == nil {
		n.head = r
		return "with empty servers: nobody is left who has what it had", nil
	}
	if err := n.settled(ctx, r); err != nil {
		return "", &console.Refusal{Problem: err.Error(), Next: "heal the links between the two and revive it again"}
	}
	if r.id == d.primary() {
		err = n.handOver(ctx, r)
	}
	return "with what the server of " + head.name + " had", err
}

// handOver makes a Region's server, which follows the head's and has all of it, the one
// that the others replicate. The head takes no writes until that one has them all, and
// follows it then. If it fails the Region is to be killed, and the head goes on; a write
// that the new one took meanwhile is lost, as in any crash.
func (n *natively) handOver(ctx context.Context, to *region) error {
	trying, cancel := context.WithTimeout(ctx, handOverTimeout)
	defer cancel()
	from := n.head
	host, port := n.at(from, to)
	// Without an end of its own it goes on sending pings, which the other one, which
	// tells once a second how far it is, may never be seen to have all of.
	failover := []string{"FAILOVER", "TO", host, port, "TIMEOUT", strconv.FormatInt(handOverTimeout.Milliseconds(), 10)}
	follower := append([]string{"CONFIG", "SET", "replica-serve-stale-data", "yes"}, n.announcing(from, to)...)
	_, err := n.main(from).DoAll(trying, follower, failover)
	for isRefusal(err) && pause(trying, lookEvery) == nil { // it has not heard yet that the other one has all
		_, err = n.main(from).Do(trying, failover...)
	}
	for err == nil && (infoText(n.info(trying, to), "role") != "master" ||
		infoText(n.info(trying, from), "master_failover_state") != "no-failover") {
		err = pause(trying, lookEvery)
	}
	if err != nil {
		_, _ = n.main(from).Do(ctx, "FAILOVER", "ABORT") // refused where it has not begun
		return fmt.Errorf("hand over from the server of %s to that of %s: %w", from.name, to.name, err)
	}
	n.head = to
	return n.gather(ctx)
}

func isRefusal(err error) bool {
	_, is := errors.AsType[valkeyserver.Refusal](err)
	return is
}

// stream fills in how the stream of a link is, by what the servers at its ends last said
// of their replication.
func (n *natively) stream(l *console.Link, from, to *region) {
	sender, receiver := n.servers.kept(from).replication, n.servers.kept(to).replication
	quiet := time.Duration(number(infoText(receiver, "master_last_io_seconds_ago"))) * time.Second
	l.Connected = n.servers.deployment.alive(to.name) && linked(receiver) && quiet < silence
	_, port := n.at(from, to)
	for line := range strings.Lines(sender) {
		if strings.HasPrefix(line, "slave") && strings.Contains(line, ",port="+port+",") {
			_, offset, _ := strings.Cut(line, ",offset=")
			offset, _, _ = strings.Cut(offset, ",")
			l.UnackedBytes = max(0, number(infoText(sender, "master_repl_offset"))-number(offset))
		}
	}
}

// Close lets go of the primary's engines and of all streams.
func (n *natively) Close() error {
	if n == nil {
		return nil
	}
	var errs []error
	for _, e := range n.sources {
		errs = append(errs, e.Close())
	}
	for _, p := range n.streams {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}
