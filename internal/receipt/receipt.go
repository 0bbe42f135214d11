package receipt

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/roam-sessions/roam/internal/ledger"
)

// ErrNone says that no list of that epoch is kept here.
var ErrNone = errors.New("no list of that epoch is kept here")

const (
	suffix = ".jsonl"
	// unfinished stands in the names of what package durable has not put in its place.
	unfinished = suffix + ".new"
)

// A Config is what a Folder is told. Only Dir is required.
type Config struct {
	// Dir is the folder, which is made with the first list. One process has it.
	Dir string
	// Items bounds the writes that a list names; those beyond are counted. Default
	// 1,000,000, which are 92 MB.
	Items uint64
	// Lists bounds the lists that are kept; those of the lowest epochs go first. Default
	// ledger.MaxReceipts: as many as there are receipts.
	Lists int
	// Bytes bounds them together, but for one that was just written. Default 1 GiB.
	Bytes int64
	// Log is told what can't be taken away, or read. Default: discarded.
	Log *slog.Logger
}

// A Folder has lists, one for each epoch. One goroutine writes; many may read meanwhile. A
// nil Folder keeps nothing.
type Folder struct{ config Config }

// NewFolder returns that of a Config. It does not look at the disk.
func NewFolder(c Config) *Folder {
	if c.Items == 0 {
		c.Items = 1_000_000
	}
	if c.Lists == 0 {
		c.Lists = ledger.MaxReceipts
	}
	if c.Bytes == 0 {
		c.Bytes = 1 << 30
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Folder{config: c}
}

func (f *Folder) path(epoch uint64) string {
	return filepath.Join(f.config.Dir, strconv.FormatUint(epoch, 10)+suffix)
}

// A List is one that is kept, and was found whole. One goroutine uses it. Close it.
type List struct {
	file   *os.File
	reader *Reader
	end    End
}

// Open returns the list of an epoch, after it has seen that it is whole. It fails with
// ErrNone, with ErrMalformed, or as the disk does.
func (f *Folder) Open(epoch uint64) (*List, error) {
	if f == nil {
		return nil, fmt.Errorf("list of epoch %d: %w", epoch, ErrNone)
	}
	file, err := os.Open(f.path(epoch))
	if errors.Is(err, os.ErrNotExist) {
		err = ErrNone
	}
	if err != nil {
		return nil, fmt.Errorf("list of epoch %d: %w", epoch, err)
	}
	l, err := open(file)
	if err == nil && l.Head().Epoch != epoch {
		err = fmt.Errorf("%w: it is of epoch %d", ErrMalformed, l.Head().Epoch)
	}
	if err != nil {
		return nil, fmt.Errorf("list of epoch %d: %w", epoch, errors.Join(err, file.Close()))
	}
	return l, nil
}

// open reads a file once, and begins anew.
func open(file *os.File) (*List, error) {
	r, err := NewReader(file)
	for err == nil {
		_, err = r.Next()
	}
	if err != io.EOF { //nolint:errorlint // it is returned as it is
		return nil, err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	again, err := NewReader(file)
	return &List{file: file, reader: again, end: r.End()}, err
}

// Head says what the list is of.
func (l *List) Head() Head { return l.reader.Head() }

// End says what is in the list.
func (l *List) End() End { return l.end }

// Next returns the next item, and io.EOF after the last one.
func (l *List) Next() (ledger.Item, error) { return l.reader.Next() }

// Close lets go of the file.
func (l *List) Close() error { return l.file.Close() }

// trim takes away what is too much, but for the list of an epoch, and what a crash has
// left of others.
func (f *Folder) trim(but uint64) {
	entries, err := os.ReadDir(f.config.Dir)
	if err != nil {
		f.config.Log.Warn("the folder of receipts can't be read", "err", err)
		return
	}
	type list struct {
		epoch uint64
		size  int64
	}
	var lists []list
	var bytes int64
	for _, e := range entries {
		if strings.Contains(e.Name(), unfinished) {
			f.remove(e.Name()) // nobody else writes
			continue
		}
		text, ours := strings.CutSuffix(e.Name(), suffix)
		epoch, err := strconv.ParseUint(text, 10, 64)
		info, err2 := e.Info()
		if ours && err == nil && err2 == nil {
			lists = append(lists, list{epoch, info.Size()})
			bytes += info.Size()
		}
	}
	slices.SortFunc(lists, func(a, b list) int { return cmp.Compare(a.epoch, b.epoch) })
	n := len(lists)
	for _, l := range lists {
		if l.epoch == but || n <= f.config.Lists && bytes <= f.config.Bytes {
			continue
		}
		f.remove(filepath.Base(f.path(l.epoch)))
		n, bytes = n-1, bytes-l.size
	}
}

func (f *Folder) remove(name string) {
	if err := os.Remove(filepath.Join(f.config.Dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		f.config.Log.Warn("a list of a receipt can't be taken away", "file", name, "err", err)
	}
}
