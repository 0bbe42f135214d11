package receipt

import (
	"bufio"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/roam-sessions/roam/internal/ledger"
)

// A Reader reads a list, line by line. It refuses what is not all of one, which it may know
// only at the end. One goroutine uses it.
type Reader struct {
	lines *bufio.Reader
	head  Head
	check uint32
	named map[ledger.Fate]uint64
	end   End
	ended error // what Next returns from now on
}

// NewReader returns what reads a list, and reads its first line. It fails with ErrMalformed,
// or with the error of from.
func NewReader(from io.Reader) (*Reader, error) {
	r := &Reader{lines: bufio.NewReaderSize(from, 32<<10), named: map[ledger.Fate]uint64{}}
	line, err := r.line()
	if err == nil {
		r.head, err = parseHead(line)
	}
	if err != nil {
		return nil, err
	}
	r.check = sum(r.check, line)
	return r, nil
}

// Head says what the list is of.
func (r *Reader) Head() Head { return r.head }

// End says what was in the list, when Next has returned io.EOF.
func (r *Reader) End() End { return r.end }

// Next returns the next item. It fails with io.EOF when all were read and the list is whole,
// with ErrMalformed if it is not, or with the error of what it is read from.
func (r *Reader) Next() (ledger.Item, error) {
	if r.ended != nil {
		return ledger.Item{}, r.ended
	}
	item, err := r.next()
	r.ended = err
	return item, err
}

func (r *Reader) next() (ledger.Item, error) {
	line, err := r.line()
	if err != nil {
		return ledger.Item{}, err
	}
	if isItem(line) {
		item, err := parseItem(line)
		if err == nil {
			r.check = sum(r.check, line)
			r.named[item.Fate]++
		}
		return item, err
	}
	if r.end, err = parseEnd(line, r.check, r.named); err != nil {
		return ledger.Item{}, err
	}
	if _, err := r.lines.ReadByte(); err == nil {
		return ledger.Item{}, fmt.Errorf("%w: something is behind its last line", ErrMalformed)
	} else if err != io.EOF { //nolint:errorlint // readers return it as it is
		return ledger.Item{}, fmt.Errorf("read a list: %w", err)
	}
	return ledger.Item{}, io.EOF
}

// line returns a line without its end. It is good until the next one is read.
func (r *Reader) line() ([]byte, error) {
	line, err := r.lines.ReadSlice('\n')
	switch {
	case err == nil && len(line) <= maxLine:
		return line[:len(line)-1], nil
	case err == nil || err == bufio.ErrBufferFull: //nolint:errorlint // as it is
		return nil, fmt.Errorf("%w: a line has more than %d bytes", ErrMalformed, maxLine)
	case err == io.EOF: //nolint:errorlint // as it is
		return nil, fmt.Errorf("%w: it ends too early", ErrMalformed)
	}
	return nil, fmt.Errorf("read a list: %w", err)
}

// sum goes on with a check by a line and its end.
func sum(check uint32, line []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Update(check, table, line), table, []byte{'\n'})
}
