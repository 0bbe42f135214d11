package node

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/roam-sessions/roam/internal/durable"
	"github.com/roam-sessions/roam/internal/feed"
	"github.com/roam-sessions/roam/internal/topology"
)

// keptPath returns where a member keeps what was agreed on last.
func keptPath(d topology.Deployment, self string) string {
	return filepath.Join(d.Control.DirOf(self), "agreed.json")
}

// keep writes a View to the disk.
func keep(path string, v feed.View) error {
	b, err := v.EncodeFile()
	if err != nil {
		return err
	}
	return durable.Replace(path, b)
}

// Agreed returns the deployment that members agreed on last, as far as this one has heard,
// if that is another than its file describes: a Region was added since, say. So a node that
// starts with an old file runs by the new one. The paths in it are seen from a folder.
func Agreed(d topology.Deployment, self, folder string, log *slog.Logger) topology.Deployment {
	if d.Control == nil {
		return d
	}
	path := keptPath(d, self)
	b, err := os.ReadFile(path) //nolint:gosec // who deploys names it
	if errors.Is(err, fs.ErrNotExist) {
		return d
	}
	var v feed.View
	if err == nil {
		v, err = feed.ParseFile(b)
	}
	if err == nil && (v.Deployment != d.Name || v.Version <= 1 || v.File == "" || v.File == d.Text) {
		return d
	}
	var agreed topology.Deployment
	if err == nil {
		agreed, err = topology.Parse([]byte(v.File))
	}
	if err != nil {
		log.Warn("what members agreed on last can't be read: going on with the file", "path", path, "err", err)
		return d
	}
	log.Info("going on with what members agreed on: update the file", "version", v.Version)
	return agreed.Under(folder)
}

// Replaced tells of the deployment that members have agreed on, if that becomes another
// than this node runs by. Who runs the node closes it, and starts one by the new one.
func (n *Node) Replaced() <-chan topology.Deployment {
	if n.seat == nil {
		return nil
	}
	return n.seat.replaced
}

// Replaced is as that of a Node.
func (w *Witness) Replaced() <-chan topology.Deployment { return w.seat.replaced }
