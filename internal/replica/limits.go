package replica

import "time"

const (
	// defaultWindow keeps a link of 200 ms busy at 20 MB/s; what is beyond it
	// waits in the log, which is on no heap of ours.
	defaultWindow = 4 << 20
	// defaultRedeliver is far above what a batch takes to be merged (1 ms) and
	// to cross an ocean and back (0.3 s).
	defaultRedeliver = 5 * time.Second
	// maxRedeliverDoubling bounds the back-off of redelivery: 5 s × 8.
	maxRedeliverDoubling = 3
	// defaultPullTries is how often a batch may come back with gaps. One is
	// usual; two when the record was written again meanwhile.
	defaultPullTries = 3

	// defaultParallel keeps an engine busy that is a round trip away, and leaves room
	// for those who log in.
	defaultParallel = 8

	// defaultSweep: what was lost without a trace is found within ten minutes,
	// before most sessions that lack it are used again.
	defaultSweep = 10 * time.Minute
	// defaultScanRate takes 12 million records through in that time, at 1 to 2 µs
	// each some 4 % of a core at either end.
	defaultScanRate = 20_000

	// frameTarget is how much is gathered while a link is busy; a longer frame
	// keeps others waiting and saves nothing.
	frameTarget = 64 << 10
	// frameEntries bounds a frame's entries, because the peer's script merges
	// them in one step: 128 × 7 µs is its millisecond.
	frameEntries = 128
)

// Limits bound one link. The zero value means the defaults.
type Limits struct {
	// Window is how many bytes may be sent and not acknowledged; 4 MiB. A single
	// entry or record that is larger goes alone. Answers to pulls come on top,
	// one read's worth, because what fills the window may be waiting for them.
	Window int
	// Redeliver is how long to wait for an acknowledgement; 5 s. It doubles with
	// each time in vain, up to eightfold.
	Redeliver time.Duration
	// PullTries is how often the same batch may lack earlier writes before the
	// link is given up; 3.
	PullTries int
	// Parallel is how many partitions are taken in at a time; 8.
	Parallel int
	// Sweep is how long anti-entropy takes to compare everything once; 10 min,
	// longer if ScanRate does not allow it.
	Sweep time.Duration
	// ScanRate is how many records a second it scans at most, at this end; 20,000.
	// What one walk through an engine's keys is for is scanned at one go, 260,000
	// records or four partitions: the pause comes after it.
	ScanRate int
}

func (l Limits) withDefaults() Limits {
	if l.Window <= 0 {
		l.Window = defaultWindow
	}
	if l.Redeliver <= 0 {
		l.Redeliver = defaultRedeliver
	}
	if l.PullTries <= 0 {
		l.PullTries = defaultPullTries
	}
	if l.Parallel <= 0 {
		l.Parallel = defaultParallel
	}
	if l.Sweep <= 0 {
		l.Sweep = defaultSweep
	}
	if l.ScanRate <= 0 {
		l.ScanRate = defaultScanRate
	}
	return l
}
