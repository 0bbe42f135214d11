package quorum

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
)

// The numbers of bbolt's file format, version 2. What it maps into memory it believes:
// a page that is broken has it read elsewhere, which ends the process, or write over
// pages that are in use. So the file is looked through before.
const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2
	boltNoList  = 1<<64 - 1 // there is no list of free pages: it is found by looking

	boltMinPage = 1 << 10
	boltMaxPage = 1 << 16
	pageHead    = 16 // id 8, flags 2, count 2, overflow 4
	elementHead = 16 // leaf: flags 4, place 4, key 4, value 4; branch: place 4, key 4, page 8
	bucketHead  = 16 // page 8, sequence 8
	// metaBytes: magic 4, version 4, page size 4, flags 4, root 8, sequence 8, free list 8,
	// pages 8, transaction 8, check 8.
	metaBytes = 64

	flagBranch = 1
	flagLeaf   = 2
	flagBucket = 1 // of a leaf's element

	// maxDepth bounds how deep a tree is: a hundred entries a page make 10^20.
	maxDepth = 10
)

// A boltMeta is one of the two pages that a file begins with. A transaction writes
// one of them last, in turns.
type boltMeta struct{ root, pages, transaction uint64 }

// inspect refuses a file that bbolt did not write as it is, as ErrCorrupt. It looks at
// the pages, and not at the values in them. Both of the first pages must be whole. To
// go on with one would be to forget the transaction that the other was written by; and
// a power cut doesn't tear it, as it is less than what a disk writes at once.
func inspect(b []byte) error {
	size := 0
	for s := boltMinPage; s <= boltMaxPage && size == 0; s *= 2 {
		if len(b) >= 2*s && binary.NativeEndian.Uint32(b[pageHead+8:]) == uint32(s) { //nolint:gosec // it is in bounds
			size = s
		}
	}
	if size == 0 {
		return fmt.Errorf("%w: %d bytes that are no bbolt file", ErrCorrupt, len(b))
	}
	first, err := readMeta(b[:size], 0)
	if err != nil {
		return err
	}
	second, err := readMeta(b[size:2*size], 1)
	if err != nil {
		return err
	}
	newest := first
	if second.transaction > first.transaction {
		newest = second
	}
	if first.transaction+second.transaction+1 != 2*newest.transaction {
		return fmt.Errorf("%w: transactions %d and %d", ErrCorrupt, first.transaction, second.transaction)
	}
	if newest.pages > uint64(len(b)/size) { //nolint:gosec // lengths
		return fmt.Errorf("%w: %d pages of %d bytes in a file of %d", ErrCorrupt, newest.pages, size, len(b))
	}
	w := walk{file: b, size: size, pages: newest.pages, seen: make([]bool, newest.pages)}
	return w.tree(newest.root, true)
}

func readMeta(page []byte, id uint64) (boltMeta, error) {
	h, m := fnv.New64a(), page[pageHead:pageHead+metaBytes]
	h.Write(m[:metaBytes-8]) // hashes never fail
	u32 := binary.NativeEndian.Uint32
	u64 := binary.NativeEndian.Uint64
	switch {
	case u32(m) != boltMagic || u32(m[4:]) != boltVersion || u64(m[metaBytes-8:]) != h.Sum64():
		return boltMeta{}, fmt.Errorf("%w: first page %d is broken", ErrCorrupt, id)
	case u64(page) != id, int(u32(m[8:])) != len(page), u64(m[32:]) != boltNoList, u64(m[48:])%2 != id:
		return boltMeta{}, fmt.Errorf("%w: first page %d is of another file", ErrCorrupt, id)
	}
	return boltMeta{root: u64(m[16:]), pages: u64(m[40:]), transaction: u64(m[48:])}, nil
}

// A walk goes through all pages that are in use, in the order of their keys.
type walk struct {
	file  []byte
	size  int
	pages uint64
	seen  []bool
	last  []byte // key; nil: none yet
}

// tree walks a tree of its own. The outer one is of buckets, and those hold none.
func (w *walk) tree(root uint64, outer bool) error {
	before := w.last
	w.last = nil
	err := w.page(root, outer, maxDepth)
	w.last = before
	return err
}

func (w *walk) page(id uint64, outer bool, depth int) error {
	broken := func(what string) error { return fmt.Errorf("%w: page %d: %s", ErrCorrupt, id, what) }
	if id < 2 || id >= w.pages || depth == 0 {
		return broken("it can't be there")
	}
	b := w.file[int(id)*w.size:] //nolint:gosec // it is in the file
	overflow := uint64(binary.NativeEndian.Uint32(b[12:]))
	if binary.NativeEndian.Uint64(b) != id || overflow >= w.pages-id {
		return broken("its head is another's")
	}
	for i := id; i <= id+overflow; i++ {
		if w.seen[i] {
			return broken("it is used twice")
		}
		w.seen[i] = true
	}
	b = b[:int(overflow+1)*w.size] //nolint:gosec // it is in the file
	switch binary.NativeEndian.Uint16(b[8:]) {
	case flagBranch:
		return w.branch(b, outer, depth)
	case flagLeaf:
		return w.leaf(b, outer)
	}
	return broken("it is of no kind")
}

// element returns the head of an element of a page and what is at its place.
func element(page []byte, i int, place int) (head, body []byte, ok bool) {
	at := pageHead + i*elementHead
	if at+elementHead > len(page) {
		return nil, nil, false
	}
	head = page[at : at+elementHead]
	from := uint64(at) + uint64(binary.NativeEndian.Uint32(head[place:])) //nolint:gosec // a length
	if from > uint64(len(page)) {
		return nil, nil, false
	}
	return head, page[from:], true
}

func (w *walk) branch(page []byte, outer bool, depth int) error {
	broken := fmt.Errorf("%w: page %d: its elements are not in it, or not in order", ErrCorrupt, binary.NativeEndian.Uint64(page))
	count := int(binary.NativeEndian.Uint16(page[10:]))
	if count == 0 {
		return broken
	}
	for i := range count {
		head, body, ok := element(page, i, 0)
		n := uint64(0)
		if ok {
			n = uint64(binary.NativeEndian.Uint32(head[4:]))
		}
		if !ok || n > uint64(len(body)) || w.last != nil && bytes.Compare(body[:n], w.last) <= 0 {
			return broken
		}
		below := *w
		below.last = nil
		if err := below.page(binary.NativeEndian.Uint64(head[8:]), outer, depth-1); err != nil {
			return err
		}
		if first := w.firstKey(binary.NativeEndian.Uint64(head[8:])); first == nil || bytes.Compare(first, body[:n]) < 0 {
			return broken
		}
		w.last = below.last
	}
	return nil
}

// firstKey returns the first key below a page that was walked.
func (w *walk) firstKey(id uint64) []byte {
	for {
		page := w.file[int(id)*w.size:] //nolint:gosec // it was walked
		leaf := binary.NativeEndian.Uint16(page[8:]) == flagLeaf
		if binary.NativeEndian.Uint16(page[10:]) == 0 {
			return nil
		}
		head := page[pageHead : pageHead+elementHead]
		if !leaf {
			id = binary.NativeEndian.Uint64(head[8:])
			continue
		}
		from := pageHead + int(binary.NativeEndian.Uint32(head[4:]))
		return page[from : from+int(binary.NativeEndian.Uint32(head[8:]))]
	}
}

func (w *walk) leaf(page []byte, outer bool) error {
	broken := fmt.Errorf("%w: page %d: its elements are not in it, or not in order", ErrCorrupt, binary.NativeEndian.Uint64(page))
	for i := range int(binary.NativeEndian.Uint16(page[10:])) {
		head, body, ok := element(page, i, 4)
		if !ok {
			return broken
		}
		key, value := uint64(binary.NativeEndian.Uint32(head[8:])), uint64(binary.NativeEndian.Uint32(head[12:]))
		if key == 0 || key+value > uint64(len(body)) || w.last != nil && bytes.Compare(body[:key], w.last) <= 0 {
			return broken
		}
		w.last = body[:key]
		isBucket := binary.NativeEndian.Uint32(head) == flagBucket
		if isBucket != outer || !isBucket && binary.NativeEndian.Uint32(head) != 0 {
			return broken
		}
		if isBucket {
			if err := w.bucket(body[key : key+value]); err != nil {
				return err
			}
		}
	}
	return nil
}

// bucket walks what is in a bucket: a tree, or, if it is small, one page in its place.
func (w *walk) bucket(value []byte) error {
	if len(value) < bucketHead {
		return fmt.Errorf("%w: bucket of %d bytes", ErrCorrupt, len(value))
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return w.tree(root, false)
	}
	page := value[bucketHead:]
	if len(page) < pageHead || binary.NativeEndian.Uint16(page[8:]) != flagLeaf {
		return fmt.Errorf("%w: bucket of %d bytes", ErrCorrupt, len(value))
	}
	before := w.last
	w.last = nil
	err := w.leaf(page, false)
	w.last = before
	return err
}
