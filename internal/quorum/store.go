package quorum

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/roam-sessions/roam/internal/durable"
)

// ErrMissing says that a member has no file, and was not said to be new.
var ErrMissing = errors.New("no file of this member")

const (
	storeVersion = 1
	// maxFileBytes bounds a file that is read: some ten times what one has that is full.
	maxFileBytes = 1 << 30
	// boltLockTimeout bounds the wait for bbolt's own lock, which ours has made free.
	boltLockTimeout = time.Second
	checkBytes      = 4
	indexBytes      = 8
)

// The buckets of a file, and the keys of the first. All keys are always there.
const (
	bucketMeta, bucketEntries     = "meta", "entries"
	keyVersion, keyLife, keyState = "version", "life", "state"
	keySnapshot, keyRange         = "snapshot", "range"
)

// A store is a member's file. It is used by one goroutine.
type store struct {
	db          *bbolt.DB
	lock        io.Closer
	state       *pb.HardState // to be written with the next that must be; nil: nothing
	first, last uint64        // entries held; last < first: none
	broken      bool          // a write failed: it is not known what the disk has
}

// openStore opens a member's file, and counts its life up. With create, the file is
// made of what the member is founded with, and must not be there; else it must:
// ErrMissing. It fails with ErrCorrupt, and has changed nothing then.
func openStore(path string, create bool, founded Stored) (_ *store, _ Stored, err error) {
	lock, err := durable.Lock(path + ".lock")
	if err != nil {
		return nil, Stored{}, err
	}
	s := &store{lock: lock}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if create {
		if err := makeStore(path, founded); err != nil {
			return nil, Stored{}, err
		}
	}
	stored, err := readStore(path)
	if err != nil {
		return nil, Stored{}, err
	}
	if s.db, err = openBolt(path, false); err != nil {
		return nil, Stored{}, err
	}
	stored.Life++
	s.first, s.last = span(stored.Entries)
	err = s.db.Update(func(tx *bbolt.Tx) error {
		return putU64(tx, keyLife, stored.Life)
	})
	return s, stored, err
}

// makeStore makes a file beside its place and moves it there when it is whole.
func makeStore(path string, founded Stored) (err error) {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is there: the member is not new: %w", path, errors.Join(err, fs.ErrExist))
	}
	unfinished := path + ".new"
	if err := os.Remove(unfinished); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := openBolt(unfinished, false)
	if err != nil {
		return err
	}
	s := &store{db: db, state: founded.State, first: 1}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, b := range []string{bucketMeta, bucketEntries} {
			if _, err := tx.CreateBucket([]byte(b)); err != nil {
				return err
			}
		}
		if err := put(tx, keyVersion, []byte{storeVersion}); err != nil {
			return err
		}
		return errors.Join(putU64(tx, keyLife, founded.Life), putProto(tx, keyState, &pb.HardState{}), put(tx, keySnapshot, nil),
			s.write(tx, Save{Snapshot: founded.Snapshot, Entries: founded.Entries}))
	})
	if err == nil { // both of bbolt's first pages are to be ours
		err = db.Update(func(tx *bbolt.Tx) error { return putU64(tx, keyLife, founded.Life) })
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := os.Rename(unfinished, path); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}

func openBolt(path string, readOnly bool) (*bbolt.DB, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: boltLockTimeout, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, ReadOnly: readOnly, NoStatistics: true,
	})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return db, nil
}

// readStore reads all of a file. It is not written to.
func readStore(path string) (stored Stored, err error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return stored, fmt.Errorf("%w: %s. A member that has lost it must come back with another number", ErrMissing, path)
	case err != nil:
		return stored, err
	case info.Size() > maxFileBytes:
		return stored, fmt.Errorf("%w: %s has %d bytes", ErrCorrupt, path, info.Size())
	}
	b, err := os.ReadFile(path) //nolint:gosec // it is configured
	if err != nil {
		return stored, err
	}
	if err := inspect(b); err != nil {
		return stored, fmt.Errorf("%s: %w", path, err)
	}
	db, err := openBolt(path, true)
	if err != nil {
		return stored, err
	}
	err = errors.Join(db.View(func(tx *bbolt.Tx) error {
		stored, err = load(tx)
		return err
	}), db.Close())
	if err == nil {
		err = stored.check()
	}
	if err != nil {
		return Stored{}, fmt.Errorf("%s: %w", path, err)
	}
	return stored, nil
}

func load(tx *bbolt.Tx) (s Stored, err error) {
	meta, entries := tx.Bucket([]byte(bucketMeta)), tx.Bucket([]byte(bucketEntries))
	if meta == nil || entries == nil {
		return s, fmt.Errorf("%w: it is no member's", ErrCorrupt)
	}
	first, last, err := s.loadMeta(meta)
	if err != nil {
		return s, err
	}
	if err := entries.ForEach(s.loadEntry); err != nil {
		return s, err
	}
	if f, l := span(s.Entries); f != first || l != last {
		return s, fmt.Errorf("%w: entries %d to %d, and not %d to %d", ErrCorrupt, f, l, first, last)
	}
	return s, nil
}

// loadMeta reads all but the entries, and returns which there should be.
func (s *Stored) loadMeta(meta *bbolt.Bucket) (first, last uint64, err error) {
	got := map[string][]byte{}
	for _, k := range []string{keyVersion, keyLife, keyState, keySnapshot, keyRange} {
		if got[k], err = unwrap([]byte(k), meta.Get([]byte(k))); err != nil {
			return 0, 0, err
		}
	}
	if v := got[keyVersion]; len(v) != 1 || v[0] != storeVersion {
		return 0, 0, fmt.Errorf("%w: format version %d, know %d", ErrCorrupt, v, storeVersion)
	}
	if len(got[keyLife]) != indexBytes || len(got[keyRange]) != 2*indexBytes {
		return 0, 0, fmt.Errorf("%w: life of %d bytes, range of %d", ErrCorrupt, len(got[keyLife]), len(got[keyRange]))
	}
	s.Life = binary.BigEndian.Uint64(got[keyLife])
	s.State = &pb.HardState{}
	if err := unmarshal(keyState, got[keyState], s.State); err != nil {
		return 0, 0, err
	}
	if len(got[keySnapshot]) > 0 {
		s.Snapshot = &pb.Snapshot{}
		if err := unmarshal(keySnapshot, got[keySnapshot], s.Snapshot); err != nil {
			return 0, 0, err
		}
	}
	return binary.BigEndian.Uint64(got[keyRange]), binary.BigEndian.Uint64(got[keyRange][indexBytes:]), nil
}

func (s *Stored) loadEntry(k, v []byte) error {
	v, err := unwrap(k, v)
	if err != nil {
		return err
	}
	e := &pb.Entry{}
	if err := unmarshal("entry", v, e); err != nil {
		return err
	}
	if len(k) != indexBytes || binary.BigEndian.Uint64(k) != e.GetIndex() {
		return fmt.Errorf("%w: entry %d is at %x", ErrCorrupt, e.GetIndex(), k)
	}
	s.Entries = append(s.Entries, e)
	return nil
}

func span(entries []*pb.Entry) (first, last uint64) {
	if len(entries) == 0 {
		return 1, 0
	}
	return entries[0].GetIndex(), entries[len(entries)-1].GetIndex()
}

// save does what Save says. When it returns, it is on the disk, if Sync says so. After
// an error the store is not to be used again: what the disk has is not known.
func (s *store) save(what Save) error {
	if what.State != nil {
		s.state = what.State
	}
	if !what.Sync {
		return nil
	}
	if err := s.db.Update(func(tx *bbolt.Tx) error { return s.write(tx, what) }); err != nil {
		s.broken = true
		return fmt.Errorf("save: %w", err)
	}
	s.state = nil
	return nil
}

func (s *store) write(tx *bbolt.Tx, what Save) error {
	if s.state != nil {
		if err := putProto(tx, keyState, s.state); err != nil {
			return err
		}
	}
	if what.Snapshot != nil {
		if err := putProto(tx, keySnapshot, what.Snapshot); err != nil {
			return err
		}
	}
	if err := s.writeEntries(tx.Bucket([]byte(bucketEntries)), what); err != nil {
		return err
	}
	return put(tx, keyRange, append(index(s.first), index(s.last)...))
}

// writeEntries removes what is to go, and appends.
func (s *store) writeEntries(b *bbolt.Bucket, what Save) error {
	gone := max(s.first, what.First) // those before it go
	if what.Reset {
		gone = s.last + 1
	}
	if err := remove(b, s.first, min(s.last, gone-1)); err != nil {
		return err
	}
	s.first = gone
	if len(what.Entries) > 0 {
		first, last := span(what.Entries)
		if err := remove(b, max(first, s.first), s.last); err != nil {
			return err
		}
		if s.last < s.first {
			s.first = first
		}
		s.last = last
	}
	if s.last < s.first {
		s.first, s.last = 1, 0
	}
	for _, e := range what.Entries {
		v, err := proto.Marshal(e)
		if err != nil {
			return err
		}
		if err := putIn(b, index(e.GetIndex()), v); err != nil {
			return err
		}
	}
	return nil
}

func remove(b *bbolt.Bucket, from, to uint64) error {
	for i := from; i <= to; i++ {
		if err := b.Delete(index(i)); err != nil {
			return err
		}
	}
	return nil
}

func index(i uint64) []byte { return binary.BigEndian.AppendUint64(nil, i) }

func put(tx *bbolt.Tx, key string, value []byte) error {
	return putIn(tx.Bucket([]byte(bucketMeta)), []byte(key), value)
}

func putU64(tx *bbolt.Tx, key string, v uint64) error { return put(tx, key, index(v)) }

func putProto(tx *bbolt.Tx, key string, m proto.Message) error {
	b, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	return put(tx, key, b)
}

// putIn puts a value with a check in front: bbolt has none.
func putIn(b *bbolt.Bucket, key, value []byte) error {
	return b.Put(key, append(check(key, value), value...))
}

func check(key, value []byte) []byte {
	table := crc32.MakeTable(crc32.Castagnoli)
	return binary.BigEndian.AppendUint32(nil, crc32.Update(crc32.Checksum(key, table), table, value))
}

// unwrap returns a value without its check.
func unwrap(key, b []byte) ([]byte, error) {
	if len(b) < checkBytes || string(b[:checkBytes]) != string(check(key, b[checkBytes:])) {
		return nil, fmt.Errorf("%w: %q and its check differ", ErrCorrupt, key)
	}
	return b[checkBytes:], nil
}

func unmarshal(what string, b []byte, m proto.Message) error {
	if err := proto.Unmarshal(b, m); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrCorrupt, what, err)
	}
	return nil
}

// close writes what it would have been enough to write later, and closes the file.
func (s *store) close() (err error) {
	if s.db != nil {
		if s.state != nil && !s.broken {
			err = s.save(Save{Sync: true})
		}
		err = errors.Join(err, s.db.Close())
	}
	return errors.Join(err, s.lock.Close())
}
