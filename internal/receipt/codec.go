package receipt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/roam-sessions/roam/internal/ledger"
)

const (
	formatVersion = 1
	// maxLine bounds a line. Names of Regions are shorter.
	maxLine = 1 << 10
	// maxSession and maxKind bound what an item says, in bytes: a fingerprint has 10.
	maxSession = 64
	maxKind    = 16
	// maxCount is the last number that every reader of JSON has exactly.
	maxCount = 1<<53 - 1
	// timeLayout is that of stamps: they have milliseconds.
	timeLayout = "2006-01-02T15:04:05.000Z"
)

// ErrMalformed says that something is no list, or not all of one.
var ErrMalformed = errors.New("no whole list of a receipt")

// A Head says what a list is of.
type Head struct {
	Epoch uint64 // that ended
	From  string // who took the writes
	To    string // who lacked them
}

// An End says what is in a list, and what is not.
type End struct {
	Named  uint64                 // items that are in it
	More   uint64                 // that were only counted
	Counts map[ledger.Fate]uint64 // of both; no fate is zero
}

// A headLine is the first line.
type headLine struct {
	Version int    `json:"v"`
	Epoch   uint64 `json:"epoch"`
	From    string `json:"from"`
	To      string `json:"to"`
}

// An endLine is the last line. Check is the CRC-32C of all before it.
type endLine struct {
	Named  uint64                 `json:"named"`
	More   uint64                 `json:"more"`
	Counts map[ledger.Fate]uint64 `json:"counts"`
	Check  string                 `json:"crc32c"`
}

// fates are all of them.
func fates() []ledger.Fate {
	return []ledger.Fate{ledger.Recovered, ledger.Superseded, ledger.Lost, ledger.Unknown}
}

// known returns the fate of a name; not ok: there is none.
func known(name []byte) (ledger.Fate, bool) {
	for _, f := range fates() {
		if string(name) == string(f) {
			return f, true
		}
	}
	return "", false
}

// headOf returns the first line, with its end.
func headOf(h Head) ([]byte, error) {
	line, err := json.Marshal(headLine{formatVersion, h.Epoch, h.From, h.To})
	if err == nil && (len(line) >= maxLine || h.Epoch == 0 || h.From == "" || h.To == "") {
		err = fmt.Errorf("%w: epoch %d, from %q to %q", ErrMalformed, h.Epoch, h.From, h.To)
	}
	return append(line, '\n'), err
}

func parseHead(line []byte) (Head, error) {
	var version struct {
		Version int `json:"v"`
	}
	if json.Unmarshal(line, &version) == nil && version.Version > formatVersion {
		return Head{}, fmt.Errorf("%w: format version %d, know %d", ErrMalformed, version.Version, formatVersion)
	}
	var l headLine
	if err := parseExactly(line, &l); err != nil {
		return Head{}, fmt.Errorf("first line: %w", err)
	}
	h := Head{l.Epoch, l.From, l.To}
	if _, err := headOf(h); err != nil || l.Version != formatVersion {
		return Head{}, fmt.Errorf("%w: first line %q", ErrMalformed, line)
	}
	return h, nil
}

func appendEnd(b []byte, e End, check uint32) ([]byte, error) {
	line, err := json.Marshal(endLine{e.Named, e.More, e.Counts, fmt.Sprintf("%08x", check)})
	return append(append(b, line...), '\n'), err
}

// parseEnd reads the last line, of a list that has the check and the items named.
func parseEnd(line []byte, check uint32, named map[ledger.Fate]uint64) (End, error) {
	var l endLine
	if err := parseExactly(line, &l); err != nil {
		return End{}, fmt.Errorf("last line: %w", err)
	}
	if want := fmt.Sprintf("%08x", check); l.Check != want {
		return End{}, fmt.Errorf("%w: its check is %q, and what is before has %s", ErrMalformed, l.Check, want)
	}
	var in, all uint64
	for f, n := range l.Counts {
		if _, ok := known([]byte(f)); !ok || n == 0 || n > maxCount {
			return End{}, fmt.Errorf("%w: it counts %d as %q", ErrMalformed, n, f)
		}
		all += n
	}
	for f, n := range named {
		if n > l.Counts[f] {
			return End{}, fmt.Errorf("%w: it names %d as %s and counts %d", ErrMalformed, n, f, l.Counts[f])
		}
		in += n
	}
	if l.Counts == nil || l.Named != in || l.More > maxCount || all != in+l.More {
		return End{}, fmt.Errorf("%w: it has %d items, and says %d, %d more and %d in all", ErrMalformed, in, l.Named, l.More, all)
	}
	return End{l.Named, l.More, l.Counts}, nil
}

// parseExactly reads a line of JSON that says what it says in the one way in which it is
// written.
func parseExactly(line []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if again, err := json.Marshal(into); err != nil || !bytes.Equal(again, line) {
		return fmt.Errorf("%w: %q is not as it is written", ErrMalformed, line)
	}
	return nil
}

// What stands between what an item says. The texts need no escapes.
const (
	beforeSession = `{"session":"`
	beforeKind    = `","kind":"`
	beforeAt      = `","at":"`
	beforeFate    = `","fate":"`
	afterFate     = `"}`
)

// appendItem appends the line of an item; not ok: it has none, so that it can't be named.
func appendItem(b []byte, i ledger.Item) (_ []byte, ok bool) {
	_, fated := known([]byte(i.Fate))
	at := i.At.UTC()
	if !fated || !plain(i.Session, maxSession) || !plain(i.Kind, maxKind) || at.Year() < 1 || at.Year() > 9999 {
		return b, false
	}
	b = append(append(b, beforeSession...), i.Session...)
	b = append(append(b, beforeKind...), i.Kind...)
	b = at.AppendFormat(append(b, beforeAt...), timeLayout)
	b = append(append(b, beforeFate...), i.Fate...)
	return append(append(b, afterFate...), '\n'), true
}

// plain reports whether a text is some small letters and digits.
func plain(text string, most int) bool {
	odd := func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }
	return text != "" && len(text) <= most && !strings.ContainsFunc(text, odd)
}

// isItem reports whether a line must be that of an item.
func isItem(line []byte) bool { return bytes.HasPrefix(line, []byte(beforeSession)) }

// parseItem reads the line of an item. It is written by hand, since a list may have a
// million.
func parseItem(line []byte) (ledger.Item, error) {
	session, rest, ok := between(line, beforeSession, beforeKind)
	kind, rest, ok2 := between(rest, "", beforeAt)
	at, rest, ok3 := between(rest, "", beforeFate)
	name, rest, ok4 := between(rest, "", afterFate)
	fate, fated := known(name)
	when, err := time.Parse(timeLayout, string(at))
	item := ledger.Item{Session: string(session), Kind: string(kind), At: when, Fate: fate}
	if !ok || !ok2 || !ok3 || !ok4 || !fated || err != nil || len(rest) > 0 {
		return ledger.Item{}, fmt.Errorf("%w: item %q", ErrMalformed, line)
	}
	// A comma for a point is a time too, and is not as it is written.
	var room [maxLine]byte
	if again, ok := appendItem(room[:0], item); !ok || !bytes.Equal(again[:len(again)-1], line) {
		return ledger.Item{}, fmt.Errorf("%w: item %q is not as it is written", ErrMalformed, line)
	}
	return item, nil
}

// between returns what stands between two texts at the beginning, and what comes behind.
func between(b []byte, first, last string) (in, rest []byte, ok bool) {
	b, begins := bytes.CutPrefix(b, []byte(first))
	in, rest, ends := bytes.Cut(b, []byte(last))
	return in, rest, begins && ends
}
