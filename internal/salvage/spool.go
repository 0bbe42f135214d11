package salvage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/durable"
)

// A SpoolConfig is what a Spool may be told. Only Dir is required.
type SpoolConfig struct {
	// Dir is the folder of its files, which is made. Whoever can read them can read
	// sessions; secrets are not in them.
	Dir string
	// Bytes bounds the files together; the oldest go first. Default 256 MiB, at least 16 MiB.
	Bytes int64
	// Keep is for how long what was written is kept, as long as more comes. Default 10 min
	// (DESIGN R8), at least a second.
	Keep time.Duration
	// Sync is how often the files are made to last, which is what a machine that loses power
	// can cost; a process that ends costs nothing. Default 100 ms.
	Sync time.Duration
	// Clock is the time. Default time.Now.
	Clock func() time.Time
	// Log is told when the disk does not take what comes, and when it does again. Default:
	// discarded.
	Log *slog.Logger
}

func (c SpoolConfig) withDefaults() SpoolConfig {
	if c.Bytes == 0 {
		c.Bytes = 256 << 20
	}
	if c.Keep == 0 {
		c.Keep = 10 * time.Minute
	}
	if c.Sync == 0 {
		c.Sync = 100 * time.Millisecond
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c SpoolConfig) check() error {
	var faults []error
	for _, f := range []struct {
		is   bool
		text string
	}{
		{c.Dir == "", "Dir is empty"},
		{c.Bytes < 2*maxSegment, fmt.Sprintf("Bytes %d: want %d or more", c.Bytes, 2*maxSegment)},
		{c.Keep < time.Second, fmt.Sprintf("Keep %v: want 1 s or more", c.Keep)},
		{c.Sync < time.Millisecond, fmt.Sprintf("Sync %v: want 1 ms or more", c.Sync)},
	} {
		if f.is {
			faults = append(faults, errors.New(f.text))
		}
	}
	return errors.Join(faults...)
}

const (
	// wantSegment is when the next file is begun: what is too old goes file by file.
	wantSegment = 4 << 20
	// maxSegment is more than a file can come to: one frame more than is wanted.
	maxSegment = wantSegment + maxFrame + frameHead
	// segmentsPerKeep is how many files a time is divided into at the least.
	segmentsPerKeep = 20
	suffix          = ".spool"
)

// A Spool keeps the log of a primary on the disk of its node, so that what the primary
// took is not lost with it (DESIGN R8). It may be used by many goroutines. One process
// has its folder.
type Spool struct {
	config SpoolConfig
	lock   io.Closer // other processes'
	stop   chan struct{}
	close  sync.Once
	work   sync.WaitGroup

	// disk is held by whoever uses what follows. It is a channel, since it is held while
	// files are written.
	disk   chan struct{}
	closed bool
	files  []segmentFile // the oldest first; the last is open if file is not nil
	file   *os.File      // nil: the next batch begins one
	dirty  bool          // file has what may not last
	failed bool          // the last write was not taken
	at     engine.Positions
}

// A segmentFile is a file of a spool.
type segmentFile struct {
	seq     uint64
	size    int64
	created crdt.Time
}

// OpenSpool returns the spool in a folder, with all that an earlier process has left there.
// It fails with all that is wrong with c, if another process has the folder, or if that
// can't be read. Close it.
func OpenSpool(c SpoolConfig) (*Spool, error) {
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	s := &Spool{config: c, stop: make(chan struct{}), disk: make(chan struct{}, 1)}
	if err := s.load(); err != nil {
		if s.lock != nil {
			err = errors.Join(err, s.lock.Close())
		}
		return nil, fmt.Errorf("open spool: %w", err)
	}
	s.work.Go(s.sync)
	return s, nil
}

// load finds the files and how far they go. What can't be read of them is left where it is.
func (s *Spool) load() error {
	if err := os.MkdirAll(s.config.Dir, 0o700); err != nil {
		return err
	}
	lock, err := durable.Lock(filepath.Join(s.config.Dir, "lock"))
	if err != nil {
		return err
	}
	s.lock = lock
	entries, err := os.ReadDir(s.config.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		text, ok := strings.CutSuffix(e.Name(), suffix)
		seq, err := strconv.ParseUint(text, 16, 64)
		if !ok || err != nil || fileName(seq) != e.Name() {
			continue // not ours
		}
		f := segmentFile{seq: seq}
		if info, err := e.Info(); err == nil {
			f.created = crdt.TimeOf(info.ModTime()) // if its own bytes don't tell
		}
		if b, err := s.read(f); err == nil {
			f.size = int64(len(b))
			if seg, err := Decode(b); err == nil {
				f.created, s.at = seg.Created, reach(seg)
			}
		}
		s.files = append(s.files, f)
	}
	slices.SortFunc(s.files, func(a, b segmentFile) int { return compare(a.seq, b.seq) })
	return nil
}

// reach returns how far the spool had come at the end of a segment.
func reach(seg Segment) engine.Positions {
	at := seg.From
	for _, b := range seg.Batches {
		at[b.Partition] = b.Last()
	}
	return at
}

func compare(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func fileName(seq uint64) string { return fmt.Sprintf("%016x%s", seq, suffix) }

func (s *Spool) path(f segmentFile) string { return filepath.Join(s.config.Dir, fileName(f.seq)) }

// read returns the bytes of a file.
func (s *Spool) read(f segmentFile) ([]byte, error) {
	info, err := os.Stat(s.path(f))
	if err == nil && info.Size() > maxSegment {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", engine.ErrCorrupt, info.Size(), int64(maxSegment))
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(s.path(f))
}

// take has the disk until the function that it returns is called.
func (s *Spool) take() (leave func(), err error) {
	s.disk <- struct{}{}
	if s.closed {
		<-s.disk
		return nil, engine.ErrClosed
	}
	return func() { <-s.disk }, nil
}

// At returns how far the spool has come: where to follow from.
func (s *Spool) At() engine.Positions {
	leave, err := s.take()
	if err != nil {
		return engine.Positions{}
	}
	defer leave()
	return s.at
}

// Follow writes what comes of a log after what the spool has, until ctx ends or the log
// can't be followed, and returns why. What the disk does not take is missing in the
// spool and is said in the log; nothing waits for it.
func (s *Spool) Follow(ctx context.Context, log engine.Log) error {
	return log.Follow(ctx, s.At(), func(b engine.Batch) error {
		if err := s.Write(b); errors.Is(err, engine.ErrClosed) {
			return err
		}
		return nil
	})
}

// Write writes a batch. It survives the end of the process when Write returns, and that
// of the machine SpoolConfig.Sync later. After an error the batch is missing, in part or
// as a whole.
func (s *Spool) Write(b engine.Batch) error {
	if err := b.Check(b.Actor.Region()); err != nil {
		return fmt.Errorf("write spool: %w", err)
	}
	leave, err := s.take()
	if err != nil {
		return fmt.Errorf("write spool: %w", err)
	}
	defer leave()
	err = s.write(b)
	if failed := err != nil; failed != s.failed {
		s.failed = failed
		if failed {
			s.config.Log.Error("spool can't be written: what this server takes is lost with it", "dir", s.config.Dir, "err", err)
		} else {
			s.config.Log.Info("spool is written again", "dir", s.config.Dir)
		}
	}
	if err != nil {
		return fmt.Errorf("write spool: %w", err)
	}
	return nil
}

func (s *Spool) write(b engine.Batch) error {
	for frames := AppendFrames(nil, b); len(frames) > 0; {
		if err := s.rotate(); err != nil {
			return err
		}
		n := frameHead + int(number(frames[:4])) //nolint:gosec // below maxFrame
		if _, err := s.file.Write(frames[:n]); err != nil {
			s.leave() // what is in it now nobody knows
			return err
		}
		s.files[len(s.files)-1].size += int64(n)
		s.dirty, frames = true, frames[n:]
	}
	s.at[b.Partition] = b.Last()
	return nil
}

// rotate sees to it that there is a file to write to, which is neither too large nor too
// old. Whoever calls it has the disk.
func (s *Spool) rotate() error {
	now := crdt.TimeOf(s.config.Clock())
	if s.file != nil {
		last := s.files[len(s.files)-1]
		if last.size < wantSegment && now.Sub(last.created) < s.config.Keep/segmentsPerKeep {
			return nil
		}
		if err := s.file.Sync(); err != nil {
			s.leave()
			return err
		}
		s.leave()
	}
	f := segmentFile{seq: 1, created: now}
	if n := len(s.files); n > 0 {
		f.seq = s.files[n-1].seq + 1
	}
	file, err := os.OpenFile(s.path(f), os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	head := AppendHeader(nil, now, s.at)
	f.size = int64(len(head))
	s.files = append(s.files, f)
	s.file = file
	s.trim(now)
	if _, err := file.Write(head); err != nil {
		s.leave()
		return err
	}
	return durable.SyncDir(s.config.Dir)
}

// leave lets go of the file. Whoever calls it has the disk.
func (s *Spool) leave() {
	if s.file != nil {
		_ = s.file.Close() // what had to last was synced
		s.file, s.dirty = nil, false
	}
}

// trim takes away files of which all is too old, or that are too much. Whoever calls it
// has the disk.
func (s *Spool) trim(now crdt.Time) {
	var sum int64
	for _, f := range s.files {
		sum += f.size
	}
	for len(s.files) > 1 {
		old := now.Sub(s.files[1].created) > s.config.Keep // what is in the first was written before
		if !old && sum+maxSegment <= s.config.Bytes {
			return
		}
		if err := os.Remove(s.path(s.files[0])); err != nil && !errors.Is(err, os.ErrNotExist) {
			s.config.Log.Warn("a file of the spool can't be taken away", "err", err)
			return // with the next one
		}
		sum -= s.files[0].size
		s.files = s.files[1:]
	}
}

// sync makes what was written last, until the spool is closed.
func (s *Spool) sync() {
	tick := time.NewTicker(s.config.Sync)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		leave, err := s.take()
		if err != nil {
			return
		}
		if s.dirty {
			if err := s.file.Sync(); err != nil {
				s.config.Log.Error("spool can't be made to last", "err", err)
				s.leave()
			}
			s.dirty = false
		}
		leave()
	}
}

// Read emits what the spool has beyond from: of the actor of a partition's position the
// entries after it, and all of others. What can't be read is missed by its numbers, where
// more comes behind it. It returns the error of emit as it is, or that of ctx. Writing
// goes on meanwhile.
func (s *Spool) Read(ctx context.Context, from engine.Positions, emit func(engine.Batch) error) error {
	leave, err := s.take()
	if err != nil {
		return fmt.Errorf("read spool: %w", err)
	}
	files := slices.Clone(s.files)
	leave()
	for _, f := range files {
		if ctx.Err() != nil {
			return fmt.Errorf("read spool: %w", engine.Ended(ctx))
		}
		seg, err := s.segment(f)
		if err != nil {
			s.config.Log.Warn("a file of the spool can't be read", "file", fileName(f.seq), "err", err)
			continue
		}
		for _, b := range seg.Batches {
			if b = beyond(b, from[b.Partition]); len(b.Frags) == 0 {
				continue
			}
			if err := emit(b); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Spool) segment(f segmentFile) (Segment, error) {
	b, err := s.read(f)
	if err != nil {
		return Segment{}, err
	}
	return Decode(b)
}

// beyond returns what of a batch comes after a position.
func beyond(b engine.Batch, from engine.Position) engine.Batch {
	if b.Actor == from.Actor && from.N >= b.First {
		n := min(from.N-b.First+1, uint64(len(b.Frags)))
		b.First, b.Frags = b.First+n, b.Frags[n:]
	}
	return b
}

// Clear takes away all that the spool has, as when an epoch begins: what an earlier one
// left is either at home or was never to be. It goes on from where the log was.
func (s *Spool) Clear() error {
	leave, err := s.take()
	if err != nil {
		return fmt.Errorf("clear spool: %w", err)
	}
	defer leave()
	s.leave()
	for len(s.files) > 0 {
		if err := os.Remove(s.path(s.files[0])); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("clear spool: %w", err)
		}
		s.files = s.files[1:]
	}
	return nil
}

// Close makes what was written last, and lets go of the files.
func (s *Spool) Close() error {
	var err error
	s.close.Do(func() {
		close(s.stop)
		s.work.Wait()
		s.disk <- struct{}{}
		defer func() { <-s.disk }()
		s.closed = true
		if s.file != nil {
			err = s.file.Sync()
			s.leave()
		}
		err = errors.Join(err, s.lock.Close())
	})
	if err != nil {
		return fmt.Errorf("close spool: %w", err)
	}
	return nil
}
