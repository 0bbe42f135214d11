package feed

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/roam-sessions/roam/internal/durable"
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

// save keeps v in the file at path.
func save(path string, v View) error {
	text, err := v.EncodeFile()
	if err != nil {
		return err
	}
	return durable.Replace(path, text)
}
