package dns

import "time"

// newer reports whether the serial a comes after b, by RFC 1982, 3.2. Serials that are half
// the circle apart are not ordered: neither is newer.
func newer(a, b uint32) bool {
	return int32(a-b) > 0 && a-b != 1<<31 //nolint:gosec // the sign is what is asked for
}

// nextSerial returns the serial of a zone that changed at a time: the seconds since 1970 if
// that is newer, so that it grows over restarts too, else the next one. A zone that changes
// more than once a second, or whose clock stepped back, runs ahead of the clock until it has
// caught up.
func nextSerial(before uint32, now time.Time) uint32 {
	if s := firstSerial(now); newer(s, before) {
		return s
	}
	return before + 1
}

// firstSerial returns the serial of a zone of which no other is known. It wraps in 2106, as
// serials do.
func firstSerial(now time.Time) uint32 {
	return uint32(now.Unix()) //nolint:gosec // it is to wrap
}
