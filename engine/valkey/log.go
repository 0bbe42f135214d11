package valkey

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

const (
	// batchEntries bounds what is read of a partition's log at a time, and what is
	// merged in one call: some millisecond of the server's time.
	batchEntries = 128
	// newsWait is how long one question for news waits. A log that began anew, with
	// lower numbers, is noticed after that.
	newsWait = time.Second
	// pollLeast and pollMost bound how often the logs of a cluster are looked at: its
	// partitions are in many slots, and one question can't wait for all.
	pollLeast = 2 * time.Millisecond
	pollMost  = 50 * time.Millisecond
)

// Follow emits the log after from, some entries of each partition in turn, and waits
// for more. It returns the error of emit as it is, the error and cause of ctx, or an
// error of package engine.
func (e *Engine) Follow(ctx context.Context, from engine.Positions, emit func(engine.Batch) error) error {
	if err := e.open(ctx); err != nil {
		return fmt.Errorf("follow the log: %w", err)
	}
	f := follower{e: e, from: from, due: ^uint64(0)}
	for {
		if f.due == 0 {
			if err := f.wait(ctx); err != nil {
				return fmt.Errorf("follow the log: %w", err)
			}
			continue
		}
		batches, err := f.read(ctx)
		if err != nil {
			return fmt.Errorf("follow the log: %w", err)
		}
		for _, b := range batches {
			if err := f.stop(ctx); err != nil {
				return fmt.Errorf("follow the log: %w", err)
			}
			if err := emit(b); err != nil {
				return err
			}
			f.from[b.Partition] = b.Last()
		}
		if len(batches) == 0 && f.due != 0 { // what was refused is asked again, not at once
			if err := f.poll(ctx); err != nil {
				return fmt.Errorf("follow the log: %w", err)
			}
		}
	}
}

// A follower is one Follow under way.
type follower struct {
	e     *Engine
	from  engine.Positions
	heads [crdt.Partitions]uint64 // numbers of the newest entries seen
	due   uint64                  // a bit for each partition to be read
	pause time.Duration           // before the next look at a cluster's logs
}

// stop returns why the following has to end.
func (f *follower) stop(ctx context.Context) error {
	if f.e.isClosed() {
		return engine.ErrClosed
	}
	if ctx.Err() != nil {
		return engine.Ended(ctx)
	}
	return nil
}

// read returns what comes next of each partition that is due, by one question.
func (f *follower) read(ctx context.Context) ([]engine.Batch, error) {
	var parts []uint16
	var cmds valkey.Commands
	for p := range uint16(crdt.Partitions) {
		if f.due&(1<<p) != 0 {
			parts = append(parts, p)
			cmds = append(cmds, f.e.client().B().FcallRo().Function("roam_v1_entries").Numkeys(2).
				Key(partitionKey(metaKeys, p), partitionKey(logKeys, p)).
				Arg(string(appendPosition(nil, f.from[p])), strconv.Itoa(batchEntries)).Build().Pin())
		}
	}
	f.due = 0
	var out []engine.Batch
	for i, res := range f.e.client().DoMulti(ctx, cmds...) {
		flat, err := res.AsStrSlice()
		if err != nil {
			if may, _ := f.e.mends(ctx, err); may {
				f.due |= 1 << parts[i] // next time
				continue
			}
			if why := f.stop(ctx); why != nil {
				return nil, why
			}
			return nil, f.e.failed(ctx, err)
		}
		batches, err := f.batches(parts[i], flat)
		if err != nil {
			return nil, fmt.Errorf("partition %d: %w", parts[i], err)
		}
		out = append(out, batches...)
	}
	if len(out) > 0 {
		f.pause = 0
	}
	return out, nil
}

// batches returns what a reply has of a partition's log: the state of the log, then
// ID and bytes of each entry.
func (f *follower) batches(p uint16, reply []string) ([]engine.Batch, error) {
	if len(reply) == 0 {
		return nil, fmt.Errorf("%w: empty reply", engine.ErrUnavailable)
	}
	m, err := decodeMeta(reply[0])
	if err != nil {
		return nil, err
	}
	f.heads[p] = m.head.N
	entries := reply[1:]
	if len(entries)/2 >= batchEntries {
		f.due |= 1 << p
	}
	var out []engine.Batch
	var last uint64 // of the era of the batch at hand
	for ; len(entries) >= 2; entries = entries[2:] {
		n, err := entryNumber(entries[0])
		if err != nil {
			return nil, err
		}
		var frag crdt.Fragment
		if entries[1] != "" {
			if frag, err = decodeEntry(entries[1]); err != nil {
				return nil, fmt.Errorf("entry %d: %w", n, err)
			}
		}
		if len(out) == 0 || n > last || n != out[len(out)-1].Last().N+1 {
			var by era
			by, last = m.eraOf(n)
			out = append(out, engine.Batch{Partition: p, Actor: by.actor, Fork: by.fork, First: n})
		}
		b := &out[len(out)-1]
		b.Frags = append(b.Frags, frag)
	}
	return out, nil
}

// entryPrefix is what the ID of an entry has before its number.
const entryPrefix = "0-"

// entryNumber reads the number of an entry from its ID.
func entryNumber(id string) (uint64, error) {
	if text, ok := strings.CutPrefix(id, entryPrefix); ok {
		if n, err := strconv.ParseUint(text, 10, 64); err == nil && n > 0 {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%w: log entry %q", engine.ErrCorrupt, id)
}

// wait returns when a partition may have news.
func (f *follower) wait(ctx context.Context) error {
	if err := f.stop(ctx); err != nil {
		return err
	}
	if f.e.client().Mode() == valkey.ClientModeCluster {
		return f.poll(ctx)
	}
	keys, ids := make([]string, crdt.Partitions), make([]string, crdt.Partitions)
	for p := range uint16(crdt.Partitions) {
		keys[p], ids[p] = partitionKey(logKeys, p), entryPrefix+strconv.FormatUint(f.heads[p], 10)
	}
	news, err := f.e.client().Do(ctx, f.e.client().B().Xread().Count(1).Block(newsWait.Milliseconds()).
		Streams().Key(keys...).Id(ids...).Build()).AsXRead()
	switch {
	case valkey.IsValkeyNil(err):
		f.due = ^uint64(0)
		return nil
	case err != nil:
		if why := f.stop(ctx); why != nil {
			return why
		}
		return f.e.failed(ctx, err)
	}
	for p, key := range keys {
		if _, has := news[key]; has {
			f.due |= 1 << p
		}
	}
	return nil
}

// poll waits a moment, longer each time that there was nothing.
func (f *follower) poll(ctx context.Context) error {
	f.pause = min(max(2*f.pause, pollLeast), pollMost)
	timer := time.NewTimer(f.pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		f.due = ^uint64(0)
		return nil
	case <-ctx.Done():
	case <-f.e.closed:
	}
	return f.stop(ctx)
}

// Head returns the positions of the newest entries, once the server has taken over
// the log that another one wrote.
func (e *Engine) Head(ctx context.Context) (engine.Positions, error) {
	var out engine.Positions
	if err := e.open(ctx); err != nil {
		return out, fmt.Errorf("read the log's head: %w", err)
	}
	caller := e.caller()
	err := e.each(ctx, func(p uint16) valkey.Completed {
		return e.client().B().Fcall().Function("roam_v1_head").Numkeys(2).
			Key(partitionKey(metaKeys, p), partitionKey(logKeys, p)).Arg(caller).Build()
	}, func(p uint16, reply string) error {
		m, err := decodeMeta(reply)
		out[p] = m.head
		return err
	})
	if err != nil {
		return engine.Positions{}, fmt.Errorf("read the log's head: %w", err)
	}
	return out, nil
}

// each asks something of every partition, in one go, and takes the replies. A reply
// that is nil is empty.
func (e *Engine) each(ctx context.Context, ask func(p uint16) valkey.Completed, take func(p uint16, reply string) error) error {
	for r := retry(ctx); ; {
		cmds := make(valkey.Commands, crdt.Partitions)
		for p := range uint16(crdt.Partitions) {
			cmds[p] = ask(p).Pin()
		}
		var refusal error
		for p, res := range e.client().DoMulti(ctx, cmds...) {
			reply, err := res.ToString()
			if err != nil && !valkey.IsValkeyNil(err) {
				refusal = err
				break
			}
			if err := take(uint16(p), reply); err != nil { //nolint:gosec // below Partitions
				return err
			}
		}
		if may, mended := e.mends(ctx, refusal); !may || !r.again(ctx, mended) {
			return e.failed(ctx, refusal)
		}
	}
}
