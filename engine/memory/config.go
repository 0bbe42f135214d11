package memory

import (
	"errors"
	"fmt"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

const (
	defaultMaxBytes      = 256 << 20 // some 400,000 sessions of 200 B
	defaultLogBytes      = 64 << 20  // a quarter of the records
	defaultKeepReleased  = 5 * time.Minute
	defaultSweepInterval = time.Second

	// minMaxBytes leaves room for one record as large as crdt allows, below
	// the mark where births are refused.
	minMaxBytes = 2 * crdt.MaxRecordBytes
	// minLogBytes leaves each partition's log a few entries.
	minLogBytes = crdt.Partitions << 10
	// minSweepInterval keeps sweeping from becoming the load.
	minSweepInterval = time.Millisecond
)

// Config is what is optional. The zero Config is a good one.
type Config struct {
	// MaxBytes bounds the records, in bytes as Stats counts them. At 80 % of it
	// births of anonymous sessions are refused with engine.ErrFull, at 90 % all
	// births, at 100 % whatever else would grow a record. Endings, touches,
	// joins and what peers send are never refused, and nothing is evicted.
	// Default 256 MiB; at least 512 KiB.
	MaxBytes int64
	// LogBytes bounds the log, in bytes as Stats counts them. Each partition
	// has an equal share, so that a hot one costs only itself its history. At
	// the bound the oldest entries go, and followers that had not read them
	// see a hole in the numbers. Default 64 MiB; at least 64 KiB.
	LogBytes int64
	// KeepReleased is how long the log is kept after every peer acknowledged
	// it, for a peer that falls back to a copy of its own from before
	// (DESIGN R14). Default 5 min; not negative.
	KeepReleased time.Duration
	// SweepInterval is the time between two sweeps for records past their
	// time. Default 1 s; at least 1 ms.
	SweepInterval time.Duration
	// Secondary: Apply is refused with engine.ErrNotPrimary until SetPrimary
	// says otherwise. Default false.
	Secondary bool
	// Incarnation tells this run from others in its Region; its low 20 bits
	// are used. Default 0: drawn from crypto/rand.
	Incarnation uint32
	// Clock is the clock. Default time.Now.
	Clock func() time.Time
}

// withDefaults returns c with zeros replaced.
func (c Config) withDefaults() Config {
	if c.MaxBytes == 0 {
		c.MaxBytes = defaultMaxBytes
	}
	if c.LogBytes == 0 {
		c.LogBytes = defaultLogBytes
	}
	if c.KeepReleased == 0 {
		c.KeepReleased = defaultKeepReleased
	}
	if c.SweepInterval == 0 {
		c.SweepInterval = defaultSweepInterval
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	return c
}

// check returns all faults of c, which has its defaults.
func (c Config) check(here crdt.Region) error {
	var faults []error
	if !here.Valid() {
		faults = append(faults, fmt.Errorf("region %d: want 1 to %d", here, crdt.MaxRegion))
	}
	if c.MaxBytes < minMaxBytes {
		faults = append(faults, fmt.Errorf("MaxBytes %d: want at least %d", c.MaxBytes, minMaxBytes))
	}
	if c.LogBytes < minLogBytes {
		faults = append(faults, fmt.Errorf("LogBytes %d: want at least %d", c.LogBytes, minLogBytes))
	}
	if c.KeepReleased < 0 {
		faults = append(faults, fmt.Errorf("KeepReleased %v: want none below 0", c.KeepReleased))
	}
	if c.SweepInterval < minSweepInterval {
		faults = append(faults, fmt.Errorf("SweepInterval %v: want at least %v", c.SweepInterval, minSweepInterval))
	}
	return errors.Join(faults...)
}
