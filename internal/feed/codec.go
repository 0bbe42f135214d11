package feed

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"unicode/utf8"
)

// version is that of a line and of the kept file, docs/formats/feed.md.
const version = 1

// A Line is one line of the stream: a View, or a beat.
type Line struct {
	View View
	Beat uint64 // counts the beats of a stream, from 1; 0: it is a View
}

// viewLine is a View as JSON, in the order in which it is written.
type viewLine struct {
	V          int      `json:"v"`
	Deployment string   `json:"deployment"`
	Index      uint64   `json:"index"`
	Epoch      uint64   `json:"epoch,omitempty"`
	Primary    string   `json:"primary,omitempty"`
	Next       string   `json:"next,omitempty"`
	NextEpoch  uint64   `json:"next_epoch,omitempty"`
	Away       []string `json:"away,omitempty"`
	Version    uint64   `json:"version,omitempty"`
	File       string   `json:"file,omitempty"`
}

// Encode returns v as a line, with its end. It fails with ErrView if v is none, or takes
// more than MaxBytes.
func (v View) Encode() ([]byte, error) {
	if err := v.Check(); err != nil {
		return nil, err
	}
	if !utf8.ValidString(v.File) {
		return nil, fmt.Errorf("%w: file is not UTF-8", ErrView)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(viewLine{
		version, v.Deployment, v.Index, v.Epoch, v.Primary, v.Next, v.NextEpoch, v.Away, v.Version, v.File,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrView, err)
	}
	if b.Len() > MaxBytes {
		return nil, fmt.Errorf("%w: it takes %d bytes: at most %d", ErrView, b.Len(), MaxBytes)
	}
	return b.Bytes(), nil
}

// beatLine returns the n-th beat as a line.
func beatLine(n uint64) []byte { return fmt.Appendf(nil, `{"v":%d,"beat":%d}`+"\n", version, n) }

// ParseLine returns what a line says. It fails with ErrView for anything that no Handler
// would send: an unknown version or name, a name that comes twice, something behind the
// end, a View that makes no sense, more than MaxBytes.
func ParseLine(line []byte) (Line, error) {
	switch {
	case len(line) > MaxBytes:
		return Line{}, fmt.Errorf("%w: a line of %d bytes: at most %d", ErrView, len(line), MaxBytes)
	case !utf8.Valid(line):
		return Line{}, fmt.Errorf("%w: not UTF-8", ErrView)
	}
	var v viewLine
	var beat uint64
	names := map[string]any{
		"v": &v.V, "beat": &beat, "deployment": &v.Deployment, "index": &v.Index, "epoch": &v.Epoch, "primary": &v.Primary,
		"next": &v.Next, "next_epoch": &v.NextEpoch, "away": &v.Away, "version": &v.Version, "file": &v.File,
	}
	all := len(names)
	if err := parseObject(line, names); err != nil {
		return Line{}, fmt.Errorf("%w: %w", ErrView, err)
	}
	if v.V != version {
		return Line{}, fmt.Errorf("%w: version %d: want %d", ErrView, v.V, version)
	}
	if _, isView := names["beat"]; !isView {
		if beat == 0 || len(names) != all-2 {
			return Line{}, fmt.Errorf("%w: beat %d with something beside it", ErrView, beat)
		}
		return Line{Beat: beat}, nil
	}
	out := View{v.Deployment, v.Index, v.Epoch, v.Primary, v.Next, v.NextEpoch, v.Away, v.Version, v.File}
	return Line{View: out}, out.Check()
}

// parseObject puts the values of an object where names say, and leaves the names that did
// not come. encoding/json alone would take a name in any case, and twice.
func parseObject(text []byte, names map[string]any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if begin, err := d.Token(); err != nil || begin != json.Delim('{') {
		return errors.New("no object")
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		key, _ := name.(string) // a name is one
		to, ok := names[key]
		if !ok {
			return fmt.Errorf("%.80q is unknown, or comes twice", key)
		}
		delete(names, key)
		if err := d.Decode(to); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	if _, err := d.Token(); err != nil { // its end
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something behind the end")
	}
	return nil
}

// fileMagic begins a kept file; the checksum of the line follows, CRC-32C in 8 digits.
const fileMagic = "roamfeed 1 "

func sum(line []byte) string {
	return fmt.Sprintf("%08x\n", crc32.Checksum(line, crc32.MakeTable(crc32.Castagnoli)))
}

// EncodeFile returns v as it is kept on a disk. It fails as Encode does.
func (v View) EncodeFile() ([]byte, error) {
	line, err := v.Encode()
	if err != nil {
		return nil, err
	}
	return append([]byte(fileMagic+sum(line)), line...), nil
}

// maxFileBytes bounds a kept file.
const maxFileBytes = len(fileMagic) + 9 + MaxBytes

// ParseFile returns the View of a kept file. It fails with ErrView for one that was cut
// short or changed, and for anything that EncodeFile would not write.
func ParseFile(file []byte) (View, error) {
	head := len(fileMagic) + 9
	if len(file) < head || string(file[:len(fileMagic)]) != fileMagic {
		return View{}, fmt.Errorf("%w: it does not begin with %q", ErrView, fileMagic)
	}
	if string(file[len(fileMagic):head]) != sum(file[head:]) {
		return View{}, fmt.Errorf("%w: its checksum differs", ErrView)
	}
	l, err := ParseLine(file[head:])
	if err == nil && l.Beat != 0 {
		err = fmt.Errorf("%w: it is a beat", ErrView)
	}
	return l.View, err
}
