package dns

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Bounds of RFC 1035, 2.3.4. A name of 253 characters without its last dot has 255 bytes.
const (
	maxLabel = 63
	maxName  = 253
)

var errNoName = errors.New("it is empty")

// parseName returns an absolute name in lower case, with its dot. Labels are of letters,
// digits, hyphens within, and underscores: what else DNS may carry, no name of ours has.
func parseName(s string) (string, error) {
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	if s == "" {
		return "", errNoName
	}
	if len(s) > maxName {
		return "", fmt.Errorf("it has %d characters, at most %d", len(s), maxName)
	}
	for label := range strings.SplitSeq(s, ".") {
		if err := checkLabel(label); err != nil {
			return "", err
		}
	}
	return s + ".", nil
}

func checkLabel(label string) error {
	switch {
	case label == "":
		return errors.New("a label is empty")
	case len(label) > maxLabel:
		return fmt.Errorf("a label has %d characters, at most %d", len(label), maxLabel)
	case label[0] == '-' || label[len(label)-1] == '-':
		return fmt.Errorf("the label %q begins or ends with a hyphen", label)
	}
	for _, c := range []byte(label) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return fmt.Errorf("the label %q has the character %q", label, c)
		}
	}
	return nil
}

// seconds returns a time as records have it.
func seconds(d, most time.Duration) (uint32, error) {
	if d < time.Second || d > most || d%time.Second != 0 {
		return 0, fmt.Errorf("%v is no whole number of seconds from 1 s to %v", d, most)
	}
	return uint32(d / time.Second), nil //nolint:gosec // bounded by most
}

// whole is seconds, of a time that was looked at.
func whole(d time.Duration) uint32 {
	return uint32(d / time.Second) //nolint:gosec // bounded, or the zone is not made
}
