package receipt

import (
	"bufio"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"

	"github.com/roam-sessions/roam/internal/durable"
	"github.com/roam-sessions/roam/internal/ledger"
)

// A Draft is a list that is being made. What it counts is right also if the disk does not
// take it. End it with Commit or Discard. One goroutine uses it.
type Draft struct {
	folder *Folder // nil: nothing is written
	head   Head
	end    End
	first  []ledger.Item

	file  *durable.Draft // nil: it is not written, or no more
	out   *bufio.Writer
	check uint32
	line  []byte
	err   error // why it is not written

	// earlier is a list that is to be carried over; seen, the items beside it, as many as a
	// list may have: of what comes again beyond, a write may be counted twice.
	earlier *List
	seed    maphash.Seed
	seen    map[uint64]int
}

// Begin begins the list of an epoch. The one that there is stays until Commit. With carry
// its items are carried over, but for those that come again: a later look at the same
// writes may find only those that are missing still. A list that can't be read is not.
func (f *Folder) Begin(h Head, carry bool) *Draft {
	d := &Draft{folder: f, head: h, end: End{Counts: map[ledger.Fate]uint64{}}}
	if f == nil {
		return d
	}
	if carry {
		d.carry()
	}
	if err := os.MkdirAll(f.config.Dir, 0o700); err != nil {
		d.err = err
		return d
	}
	f.trim(h.Epoch)
	file, err := durable.NewDraft(f.path(h.Epoch))
	if err != nil {
		d.err = err
		return d
	}
	d.file, d.out = file, bufio.NewWriterSize(file, 64<<10)
	line, err := headOf(h)
	if err != nil {
		d.fail(err)
		return d
	}
	d.write(line)
	return d
}

// carry opens the list that is to be carried over.
func (d *Draft) carry() {
	l, err := d.folder.Open(d.head.Epoch)
	if err == nil && l.Head() != d.head {
		err = errors.Join(fmt.Errorf("%w: it is of %+v", ErrMalformed, l.Head()), l.Close())
	}
	if err != nil {
		if !errors.Is(err, ErrNone) {
			d.folder.config.Log.Warn("an earlier list of a receipt is not carried over", "err", err)
		}
		return
	}
	d.earlier, d.seed, d.seen = l, maphash.MakeSeed(), map[uint64]int{}
}

// write writes a line.
func (d *Draft) write(line []byte) {
	if d.file == nil {
		return
	}
	if _, err := d.out.Write(line); err != nil {
		d.fail(err)
		return
	}
	d.check = sum(d.check, line[:len(line)-1])
}

// fail gives the file up at once: the disk that has no room for it has others' files too.
func (d *Draft) fail(err error) {
	d.err = errors.Join(err, d.file.Discard())
	d.file, d.out = nil, nil
}

// Add counts an item, and names it if there is room.
func (d *Draft) Add(i ledger.Item) {
	if d.earlier != nil && uint64(len(d.seen)) < d.folder.config.Items {
		d.seen[d.hash(i)]++
	}
	d.add(i)
}

func (d *Draft) add(i ledger.Item) {
	if _, ok := known([]byte(i.Fate)); !ok {
		i.Fate = ledger.Unknown
	}
	d.end.Counts[i.Fate]++
	if len(d.first) < ledger.MaxItems {
		d.first = append(d.first, i)
	}
	line, ok := appendItem(d.line[:0], i)
	d.line = line
	if !ok || d.folder == nil || d.end.Named == d.folder.config.Items {
		d.end.More++
		return
	}
	d.end.Named++
	d.write(line)
}

// hash is the same for what may be the same write.
func (d *Draft) hash(i ledger.Item) uint64 {
	type write struct {
		session, kind string
		at            int64
	}
	return maphash.Comparable(d.seed, write{i.Session, i.Kind, i.At.UnixMilli()})
}

// join adds what an earlier list has and this one lacks. A write that was recovered is never
// found missing again, so what looks like it is another one.
func (d *Draft) join() error {
	l := d.earlier
	if l == nil {
		return nil
	}
	d.earlier = nil
	more := l.End().Counts
	for {
		i, err := l.Next()
		if err == io.EOF { //nolint:errorlint // it is returned as it is
			break
		}
		if err != nil {
			return errors.Join(err, l.Close())
		}
		more[i.Fate]--
		if h := d.hash(i); i.Fate != ledger.Recovered && d.seen[h] > 0 {
			d.seen[h]--
			continue
		}
		d.add(i)
	}
	for fate, n := range more {
		if n > 0 {
			d.end.Counts[fate] += n
			d.end.More += n
		}
	}
	return l.Close()
}

// Commit has the draft be the list of its epoch, and takes away older ones that are too
// many. After an error the list is what it was; what the draft has counted stays right.
func (d *Draft) Commit() error {
	if err := d.join(); err != nil {
		d.Discard()
		return fmt.Errorf("list of epoch %d: %w", d.head.Epoch, err)
	}
	if d.file != nil {
		line, err := appendEnd(nil, d.end, d.check)
		if err == nil {
			if _, err = d.out.Write(line); err == nil {
				err = d.out.Flush()
			}
		}
		if err != nil {
			d.fail(err)
		} else {
			d.err = d.file.Commit()
			d.file = nil
		}
	}
	if d.err != nil {
		return fmt.Errorf("list of epoch %d: %w", d.head.Epoch, d.err)
	}
	if d.folder != nil {
		d.folder.trim(d.head.Epoch)
	}
	return nil
}

// Discard lets go of the draft. After Commit it does nothing.
func (d *Draft) Discard() {
	if d.earlier != nil {
		_ = d.earlier.Close() // it was read only
		d.earlier = nil
	}
	if d.file != nil {
		d.err = errors.Join(errors.New("it was discarded"), d.file.Discard())
		d.file = nil
	}
}

// End says what the draft has so far.
func (d *Draft) End() End { return d.end }

// First returns the first items, as many as a receipt names.
func (d *Draft) First() []ledger.Item { return d.first }
