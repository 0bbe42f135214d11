package roam

import (
	"log/slog"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/internal/journal"
	"github.com/roam-sessions/roam/internal/router"
)

// A Journal is the logouts that a Region knows of and its engine may not have,
// as its own and other Regions see them.
type Journal = router.Journal

// An OwnJournal is this Region's Journal, as a file keeps it. Close it after the
// Store.
type OwnJournal interface {
	Journal
	// Close closes the file.
	Close() error
}

// OpenJournal opens the journal of the Region here, which is kept in the file at
// path; one that is not there is made. It is for Config.Here, of one Store in one
// process. Log, which may be nil, hears of what a crash left half written. It
// fails with engine.ErrCorrupt if something else in the file can't be read, and
// leaves it as it is.
func OpenJournal(here crdt.Region, path string, log *slog.Logger) (OwnJournal, error) {
	j, err := journal.Open(here, path, journal.Config{Log: log})
	if err != nil {
		return nil, err
	}
	return j, nil
}
