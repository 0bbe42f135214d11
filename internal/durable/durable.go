package durable

import (
	"errors"
	"fmt"
	"os"
)

// Replace has the file at path be b, with mode 0600: whoever reads it finds what was there
// before, or b, also after a crash. It returns nil when b is on the disk. What a crash
// leaves beside it, with ".new" in its name, means nothing.
func Replace(path string, b []byte) error {
	d, err := NewDraft(path)
	if err != nil {
		return err
	}
	if _, err := d.Write(b); err != nil {
		return errors.Join(err, d.Discard())
	}
	return d.Commit()
}

// SyncDir makes what was created, renamed or removed in a folder last.
func SyncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // who deploys names it
	if err != nil {
		return err
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync the folder: %w", err)
	}
	return nil
}
