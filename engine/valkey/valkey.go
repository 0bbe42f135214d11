package valkey

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/trail"
)

// parts are what the server runs, in order.
//
//go:embed lua/*.lua
var parts embed.FS

// library returns what the server runs. Its first line names it and its version;
// changed code needs another one, so that two versions can be loaded at a time.
func library() string {
	var b strings.Builder
	files, _ := parts.ReadDir("lua") // sorted; it is part of the program
	for _, f := range files {
		text, _ := parts.ReadFile("lua/" + f.Name())
		b.Write(text)
	}
	return b.String()
}

// An Engine keeps records in a Valkey server or cluster. Records that it returns are
// never changed again. Any number of engines, in any number of processes, may be
// open for one server; they are one engine to whoever looks.
//
// A call whose context has ended fails with engine.ErrUnreachable and the context's
// error, and has done nothing.
type Engine struct {
	config Config
	here   crdt.Region
	link   link

	closed    chan struct{}
	close     sync.Once
	stop      context.CancelFunc // ends the sweeping
	work      sync.WaitGroup     // all goroutines
	starting  sync.Mutex         // none of them begins once closed is
	loading   sync.Mutex         // one FUNCTION LOAD at a time
	refilling atomic.Bool        // as of the last look
	connected atomic.Bool        // the last answer came over a connection
	level     atomic.Int32       // of memory: DESIGN R13
	epoch     atomic.Uint64      // of the lease that writes want; 0: none
	renewing  atomic.Bool        // connections are being made anew, aside
	refused   refusals           // that this may be for
	readOnly  atomic.Int64       // when a cluster's replica was last told to show what it has; Unix ns
	released  trail.Marks        // what peers hold of the log
	written   trail.Marks        // what there was of it
	near      *near              // nil: none
	replicas  atomic.Pointer[readFrom]
}

var (
	_ engine.Log      = (*Engine)(nil)
	_ engine.Sink     = (*Engine)(nil)
	_ engine.Scanner  = (*Engine)(nil)
	_ engine.Refiller = (*Engine)(nil)
)

// Settings of the connection; docs/decisions/0020 says why.
const (
	keepAlive    = 300 * time.Millisecond
	writeTimeout = 500 * time.Millisecond
	flushDelay   = 20 * time.Microsecond
	connLifetime = 10 * time.Minute
	// dialTimeout is for three round trips to the far side of the earth, and again for
	// the first words. Calls do not wait for it longer than their contexts say.
	dialTimeout = 1500 * time.Millisecond
	bufferBytes = 64 << 10
)

// Open connects to a server, loads the functions if it has not got them, and returns
// the engine of the Region here. It fails with all that is wrong with c, with ErrUnfit,
// or if the server can't be reached within ctx. Close it.
func Open(ctx context.Context, here crdt.Region, c Config) (*Engine, error) {
	c = c.withDefaults()
	if err := c.check(here); err != nil {
		return nil, fmt.Errorf("valkey engine: %w", err)
	}
	e := &Engine{config: c, here: here, closed: make(chan struct{})}
	client, err := connect(ctx, e.option())
	if err != nil {
		return nil, fmt.Errorf("valkey engine: %w", err)
	}
	e.link.now.Store(&client)
	if cluster := client.Mode() == valkey.ClientModeCluster; len(c.Replicas) > 0 && cluster || c.ClusterReplicas && !cluster {
		client.Close()
		return nil, fmt.Errorf("valkey engine: Replicas is for a server alone and ClusterReplicas for a cluster: the server's is the other kind")
	}
	if err := e.fit(ctx); err != nil {
		client.Close()
		return nil, fmt.Errorf("valkey engine: %w", err)
	}
	if err := e.load(ctx); err != nil && !errors.Is(err, engine.ErrNotPrimary) {
		client.Close()
		return nil, fmt.Errorf("valkey engine: load functions: %w", err)
	}
	e.lookAtMemory(ctx)
	if _, err := e.Lost(ctx); err != nil {
		e.link.close()
		return nil, fmt.Errorf("valkey engine: %w", err)
	}
	if c.NearBytes > 0 {
		if e.near, err = newNear(c.NearBytes); err != nil {
			e.link.close()
			return nil, fmt.Errorf("valkey engine: near-cache: %w", err)
		}
	}
	ctx, e.stop = context.WithCancel(context.WithoutCancel(ctx))
	e.work.Go(func() { e.sweep(ctx) })
	if e.near != nil {
		e.work.Go(func() { e.track(ctx) })
	}
	e.openReplicas(ctx)
	return e, nil
}

// option returns how the server is connected to.
func (e *Engine) option() valkey.ClientOption {
	c := e.config
	o := valkey.ClientOption{
		InitAddress: c.Addrs, Username: c.Username, Password: c.Password, TLSConfig: c.TLS,
		ClientName: "roam", DisableCache: true, AlwaysRESP2: true, PipelineMultiplex: 1, MaxFlushDelay: flushDelay,
		ConnWriteTimeout: writeTimeout, ConnLifetime: connLifetime, RetryDelay: rereadAfter,
		ReadBufferEachConn: bufferBytes, WriteBufferEachConn: bufferBytes,
		Dialer: net.Dialer{KeepAlive: keepAlive, Timeout: dialTimeout, Resolver: c.Resolver}, DialCtxFn: e.dial,
	}
	if c.alone {
		o.ForceSingleClient, o.PipelineMultiplex = true, -1 // one connection: READONLY is of one
	}
	return o
}

// Close lets go of the connections and returns when the last goroutine is gone.
// Follow ends with engine.ErrClosed. A connection that is being made is waited for,
// three seconds at most. It never fails.
func (e *Engine) Close() error {
	e.close.Do(func() {
		e.starting.Lock()
		close(e.closed)
		e.starting.Unlock()
		e.stop()
		e.link.close()
		e.work.Wait()
	})
	return nil
}

// Read returns the record of k, bottom if there is none. With Config.NearBytes or
// Config.Replicas it may be up to a second old, and never older than seen.
func (e *Engine) Read(ctx context.Context, k crdt.Key, seen crdt.Token) (crdt.Record, error) {
	if err := e.ready(ctx, k); err != nil {
		return crdt.Record{}, fmt.Errorf("read %v: %w", k, err)
	}
	if e.near == nil {
		r, _, err := e.readNearest(ctx, k, seen, time.Time{})
		return r, err
	}
	r, round, ok := e.near.lookup(k, seen)
	if ok {
		if e.refilling.Load() {
			return shown(r), engine.ErrRefilling
		}
		return shown(r), nil
	}
	r, as, err := e.readNearest(ctx, k, seen, e.near.since(round))
	if err != nil {
		e.near.note(round.of) // what comes with it is shown too
		return r, err
	}
	e.near.keep(k, r, round, as)
	return r, nil
}

// readServer reads what the server has.
func (e *Engine) readServer(ctx context.Context, k crdt.Key) (crdt.Record, error) {
	r, err := e.fetch(ctx, k)
	if err != nil {
		return crdt.Record{}, fmt.Errorf("read %v: %w", k, err)
	}
	lacks := e.refilling.Load()
	if r.IsBottom() { // is it nowhere, or lost?
		if r, lacks, err = e.look(ctx, k); err != nil {
			return crdt.Record{}, fmt.Errorf("read %v: %w", k, err)
		}
	}
	if lacks {
		return shown(r), engine.ErrRefilling
	}
	return shown(r), nil
}

// Apply does what crdt.Apply does and writes the log, in one call of the server.
func (e *Engine) Apply(ctx context.Context, k crdt.Key, op crdt.Op) (crdt.Dot, error) {
	dot, err := e.apply(ctx, k, op)
	if err != nil {
		return crdt.Dot{}, fmt.Errorf("apply to %v: %w", k, err)
	}
	return dot, nil
}

func (e *Engine) apply(ctx context.Context, k crdt.Key, op crdt.Op) (crdt.Dot, error) {
	if err := e.ready(ctx, k); err != nil {
		return crdt.Dot{}, err
	}
	if err := op.Check(k); err != nil {
		return crdt.Dot{}, err
	}
	defer e.touched(k)
	p := k.Partition()
	reply, err := e.call(ctx, "roam_v1_apply",
		[]string{recordKey(k), partitionKey(metaKeys, p), partitionKey(logKeys, p)},
		[]string{e.caller(), valkey.BinaryString(crdt.AppendOp(nil, op))}).ToString()
	if err != nil {
		return crdt.Dot{}, e.failed(ctx, err)
	}
	if reply == "" {
		return crdt.Dot{}, nil
	}
	dot, err := crdt.DecodeDot([]byte(reply))
	if err != nil {
		return crdt.Dot{}, fmt.Errorf("%w: reply of %d bytes", engine.ErrUnavailable, len(reply))
	}
	return dot, nil
}

// Join merges a state from elsewhere.
func (e *Engine) Join(ctx context.Context, r crdt.Record) error {
	err := e.ready(ctx, r.Key)
	if err == nil && !r.IsBottom() {
		defer e.touched(r.Key)
		err = e.failed(ctx, e.call(ctx, "roam_v1_join", []string{recordKey(r.Key)},
			[]string{valkey.BinaryString(crdt.AppendRecord(nil, r))}).Error())
	}
	if err != nil {
		return fmt.Errorf("join %v: %w", r.Key, err)
	}
	return nil
}

// caller returns what the scripts must know of who calls: the actor that is to write
// where the server takes over a log, how full memory is, the bound of a partition's
// log, and the epoch. The actor comes from here and not from the script, whose dice are the same on
// every server, and each time anew: two servers may take over (DESIGN R2).
func (e *Engine) caller() string {
	var dice [4]byte
	_, _ = rand.Read(dice[:]) // never fails: crypto/rand ends the process instead
	actor := crdt.NewActor(e.here, binary.BigEndian.Uint32(dice[:]))
	return callerOf(actor, int(e.level.Load()), e.config.LogBytes/crdt.Partitions, e.epoch.Load())
}

func callerOf(candidate crdt.Actor, level int, logBytes int64, epoch uint64) string {
	b := append(appendNumber(make([]byte, 0, 16), uint64(candidate), 3), byte(level))
	b = appendNumber(b, uint64(logBytes), 6) //nolint:gosec // checked to be positive
	return valkey.BinaryString(appendNumber(b, epoch, 6))
}

// load gives the functions to every primary that has not got them. It fails with
// engine.ErrNotPrimary where there is none: a replica has them from its primary.
func (e *Engine) load(ctx context.Context) error {
	e.loading.Lock()
	defer e.loading.Unlock()
	nodes, err := e.primaries(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, node := range nodes {
		err := node.Do(ctx, node.B().FunctionLoad().FunctionCode(library()).Build()).Error()
		var reply *valkey.ValkeyError
		if errors.As(err, &reply) && strings.Contains(reply.Error(), "already exists") {
			continue
		}
		errs = append(errs, e.failed(ctx, err))
	}
	return errors.Join(errs...)
}

// nodes returns a client for each node of a cluster, and the one there is otherwise.
func (e *Engine) nodes() []valkey.Client {
	return slices.Collect(maps.Values(e.byAddress()))
}

// failed returns what err of the client is to the engine's caller.
func (e *Engine) failed(ctx context.Context, err error) error {
	if err != nil && e.isClosed() {
		return engine.ErrClosed
	}
	return classify(ctx, err)
}

func (e *Engine) isClosed() bool {
	select {
	case <-e.closed:
		return true
	default:
		return false
	}
}

// ready is what every call about a record asks first.
func (e *Engine) ready(ctx context.Context, k crdt.Key) error {
	if err := e.open(ctx); err != nil {
		return err
	}
	return engine.CheckKey(k)
}

// open is what every call asks first.
func (e *Engine) open(ctx context.Context) error {
	if e.isClosed() {
		return engine.ErrClosed
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", engine.ErrUnreachable, engine.Ended(ctx))
	}
	return nil
}
