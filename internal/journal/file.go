package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
	"github.com/roam-sessions/roam/internal/durable"
)

const (
	// maxFile is more than a file can come to before it is made smaller.
	maxFile = 1 << 30
	// wasteAfter is how many entries may be of no more use before a file is made
	// smaller: fewer are not worth a rewrite.
	wasteAfter = 1024
)

// A handle is what a file needs of os.File.
type handle interface {
	io.WriterAt
	io.Closer
	Sync() error
	Truncate(size int64) error
}

// A file is where a Journal is kept: a header, and frames that are only ever
// appended, until it is written anew. It is used by one goroutine at a time.
type file struct {
	path    string
	handle  handle
	lock    io.Closer
	size    int64 // of what is known to be good
	entries int   // in it
	broken  bool  // a write failed: what is on the disk is not known
}

// openFile opens a journal's file, or makes it.
func openFile(path string) (*file, Contents, error) {
	lock, err := durable.Lock(path + ".lock")
	if err != nil {
		return nil, Contents{}, err
	}
	f := &file{path: path, lock: lock}
	contents, err := f.load()
	if err != nil {
		return nil, Contents{}, errors.Join(err, lock.Close())
	}
	return f, contents, nil
}

func (f *file) load() (Contents, error) {
	raw, err := readWhole(f.path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(raw) == 0 {
		return Contents{}, f.rewrite(nil)
	}
	if err != nil {
		return Contents{}, err
	}
	contents, err := Decode(raw)
	if err != nil {
		return Contents{}, err
	}
	h, err := os.OpenFile(f.path, os.O_RDWR, 0)
	if err != nil {
		return Contents{}, err
	}
	f.handle, f.size, f.entries = h, int64(len(raw)-contents.Torn), len(contents.Entries)
	if contents.Torn > 0 {
		err = errors.Join(h.Truncate(f.size), h.Sync())
	}
	if err != nil {
		return Contents{}, errors.Join(err, h.Close())
	}
	return contents, nil
}

func readWhole(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxFile {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", engine.ErrCorrupt, info.Size(), int64(maxFile))
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path) //nolint:gosec // whoever configures the process names the file
}

// append writes entries and waits until they are on the disk. After a failure,
// all, which are what is known without them, are written anew first: of a
// failed write nobody knows what came of it, nor would writing on tell.
func (f *file) append(entries []Entry, all func() []crdt.Record) error {
	if f.broken {
		if err := f.rewrite(all()); err != nil {
			return err
		}
	}
	frame := AppendFrame(nil, entries)
	if len(frame) > frameHead+maxFrame {
		return f.rewriteWith(entries, all())
	}
	_, err := f.handle.WriteAt(frame, f.size)
	if err == nil {
		err = f.handle.Sync()
	}
	if err != nil {
		f.broken = true
		return fmt.Errorf("write: %w", err)
	}
	f.size += int64(len(frame))
	f.entries += len(entries)
	return nil
}

// rewriteWith writes what is known and the endings among entries anew.
func (f *file) rewriteWith(entries []Entry, all []crdt.Record) error {
	for _, e := range entries {
		if !e.Settled {
			all = append(all, e.Ending)
		}
	}
	return f.rewrite(all)
}

// wasteful reports whether most of the file is of no more use.
func (f *file) wasteful(settled, live int) bool { return f.entries+settled > 2*live+wasteAfter }

// rewrite puts a file with the endings given in the place of what is there, or
// fails and leaves that.
func (f *file) rewrite(endings []crdt.Record) error {
	b := AppendHeader(nil)
	for _, r := range endings {
		b = AppendFrame(b, []Entry{{Ending: r}})
	}
	h, err := replace(f.path, b)
	if err != nil {
		f.broken = true // the name may be that of another file by now
		return fmt.Errorf("write anew: %w", err)
	}
	if f.handle != nil {
		_ = f.handle.Close() // of a file that has no name any more
	}
	f.handle, f.size, f.entries, f.broken = h, int64(len(b)), len(endings), false
	return nil
}

// replace puts a file of bytes at path, in one step and on the disk, and returns
// it open.
func replace(path string, b []byte) (*os.File, error) {
	fresh := path + ".new"
	h, err := os.OpenFile(fresh, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600) //nolint:gosec // beside that file
	if err != nil {
		return nil, err
	}
	if _, err = h.Write(b); err == nil {
		err = h.Sync()
	}
	if err == nil {
		err = os.Rename(fresh, path)
	}
	if err == nil {
		err = durable.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

func (f *file) close() error { return errors.Join(f.handle.Close(), f.lock.Close()) }
