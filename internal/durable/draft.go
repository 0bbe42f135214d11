package durable

import (
	"errors"
	"os"
	"path/filepath"
)

// A Draft is a file that is written bit by bit, and takes the place of another one when it
// is whole. End it with Commit or Discard. One goroutine uses it.
type Draft struct {
	file *os.File
	path string
}

// NewDraft begins what is to be at path, with mode 0600. Until Commit it lies beside that
// file, with ".new" in its name; what a crash leaves there means nothing.
func NewDraft(path string) (*Draft, error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new*") // mode 0600
	if err != nil {
		return nil, err
	}
	return &Draft{file: f, path: path}, nil
}

// Write appends to it.
func (d *Draft) Write(b []byte) (int, error) { return d.file.Write(b) }

// Commit has the draft be the file: whoever reads that finds what was there before, or all
// of the draft, also after a crash. It returns nil when it is on the disk. After an error
// the draft is gone, and the file is what it was, or the draft if the error is of the
// folder alone.
func (d *Draft) Commit() error {
	err := errors.Join(d.file.Sync(), d.file.Close())
	if err == nil {
		err = os.Rename(d.file.Name(), d.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(d.file.Name()))
	}
	return SyncDir(filepath.Dir(d.path))
}

// Discard takes the draft away, and leaves the file what it was.
func (d *Draft) Discard() error { return errors.Join(d.file.Close(), os.Remove(d.file.Name())) }
