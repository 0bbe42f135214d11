package feed

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// load returns the View that is kept in the file at path, and whether there is one. It
// fails if there is a file that can't be read or believed.
func load(path string) (View, bool, error) {
	f, err := os.Open(path) //nolint:gosec // who deploys names it
	if errors.Is(err, fs.ErrNotExist) {
		return View{}, false, nil
	}
	if err != nil {
		return View{}, false, err
	}
	defer func() { _ = f.Close() }() // it was read only
	text, err := io.ReadAll(io.LimitReader(f, int64(maxFileBytes)+1))
	if err != nil {
		return View{}, false, err
	}
	v, err := ParseFile(text)
	return v, err == nil, err
}

// save keeps v in the file at path: whoever reads it finds what was there before, or v,
// also after a crash. What a crash leaves beside it, with ".new" in its name, means
// nothing.
func save(path string, v View) error {
	text, err := v.EncodeFile()
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".new*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync())
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(dir)
}

// syncDir has the disk keep a rename in a folder.
func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // who deploys names it
	if err != nil {
		return err
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync the folder: %w", err)
	}
	return nil
}
