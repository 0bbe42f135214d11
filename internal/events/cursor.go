package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"

	"github.com/roam-sessions/roam/internal/durable"
)

const (
	// cursorsName is the file of all hooks' cursors, in the member's folder.
	cursorsName = "webhooks.json"
	// maxCursors bounds that file: 64 hooks with names of 64 letters are less.
	maxCursors = 64 << 10
)

// A cursors is how far each hook was told, in a file. It is for many goroutines.
type cursors struct {
	path string

	mu  sync.Mutex // guards what follows, and one writing of the file; nothing else is taken under it
	seq map[string]uint64
}

// cursorBytes is what the file holds.
type cursorBytes struct {
	V    int               `json:"v"`
	Told map[string]uint64 `json:"told"`
}

// openCursors reads the file. If it is there and can't be believed, that is the error, and
// the cursors are empty and can be used.
func openCursors(dir string) (*cursors, error) {
	c := &cursors{path: filepath.Join(dir, cursorsName), seq: map[string]uint64{}}
	f, err := os.Open(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	defer func() { _ = f.Close() }() // it was read only
	b, err := io.ReadAll(io.LimitReader(f, maxCursors+1))
	if err != nil {
		return c, err
	}
	told, err := parseCursors(b)
	if err != nil {
		return c, err
	}
	c.seq = told
	return c, nil
}

func parseCursors(b []byte) (map[string]uint64, error) {
	var c cursorBytes
	if len(b) > maxCursors {
		return nil, fmt.Errorf("%s has more than %d bytes", cursorsName, maxCursors)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return nil, fmt.Errorf("%s: %w", cursorsName, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: more behind it", cursorsName)
	}
	if c.V != version {
		return nil, fmt.Errorf("%s is of version %d, want %d", cursorsName, c.V, version)
	}
	if c.Told == nil {
		c.Told = map[string]uint64{}
	}
	return c.Told, nil
}

// at returns how far a hook was told, and whether anything is known of that.
func (c *cursors) at(hook string) (uint64, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	seq, ok := c.seq[hook]
	return seq, ok
}

// move takes a hook further, never back, and keeps that on disk before it returns. It
// holds in memory even if the disk fails.
func (c *cursors) move(hook string, seq uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if was, ok := c.seq[hook]; ok && was >= seq {
		return nil
	}
	c.seq[hook] = seq
	return c.write()
}

// keep forgets all hooks but some.
func (c *cursors) keep(hooks map[string]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.seq, func(hook string, _ uint64) bool { return !hooks[hook] })
}

// all returns how far each hook was told.
func (c *cursors) all() map[string]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.seq)
}

// write has the file be the old one or the new one, also after a crash. c.mu is held.
func (c *cursors) write() error {
	b, err := json.Marshal(cursorBytes{version, c.seq})
	if err != nil {
		return err
	}
	return durable.Replace(c.path, append(b, '\n'))
}
