package dynamo

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// The attributes of an item, as docs/formats/dynamo.md has them.
const (
	attrKey     = "pk"   // S: what the record is called here
	attrWriter  = "wr"   // N: the Region whose item it is; 0: everybody's
	attrVersion = "v"    // B: random, another one at each write
	attrActor   = "inc"  // N: incarnation of the actors that write it
	attrWhere   = "aws"  // S: the AWS Region that wrote it
	attrData    = "data" // B: the record
	attrExpiry  = "exp"  // N: when DynamoDB may delete it, Unix seconds
)

const (
	// maxItemBytes is DynamoDB's own limit, of names and values together.
	maxItemBytes = 400 << 10
	// itemOverhead is more than all that is not the record takes of it.
	itemOverhead = 256
	// userSlack is how long a user's item stays beyond its time. Another Region deletes
	// it by the copy that it has, and the delete would win over a write that it has not
	// heard of: so Regions may be apart for so long.
	userSlack = 7 * 24 * time.Hour
	// keyHex is the length of attrKey.
	keyHex = 2 * sha256.Size
)

// everybody is the writer of the item that all Regions write, where Config.Strong says so.
const everybody crdt.Region = 0

// A version tells one write of an item from all others; zero: there is no item.
type version [16]byte

func newVersion() (v version) {
	_, _ = rand.Read(v[:]) // never fails: crypto/rand ends the process instead
	return v
}

// newIncarnation returns an incarnation for who writes a new item. All later writers of
// it go on as the same actor, since each builds on the one before it: what one Region
// writes to a record is one chain, however many processes there are.
func newIncarnation() uint32 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint32(b[:]) & maxIncarnation
}

// maxIncarnation is the highest one that an actor has room for.
const maxIncarnation = 1<<20 - 1

// An item is what one Region has written of one record, or everybody.
type item struct {
	key         string
	writer      crdt.Region
	version     version
	incarnation uint32
	where       string
	data        []byte // crdt.AppendRecord
	expiry      int64  // Unix seconds
}

// keyOf returns what the record of k is called in the table: a hash, because the keys of
// items appear in AWS's logs and metrics.
func keyOf(k crdt.Key) string {
	sum := sha256.Sum256(append([]byte{byte(k.Kind())}, k.Name()...))
	return hex.EncodeToString(sum[:])
}

// expiryOf returns when an item of r may be deleted, by the clock alone and by a Region
// that has not heard of the latest writes. For a session that is the deadline in its ID
// and nothing earlier: idle time is no reason, since a touch by another Region moves its
// own item's and not this one's.
func expiryOf(r crdt.Record, now crdt.Time) int64 {
	last := crdt.Record{Key: r.Key, Dead: true}
	until := now
	if r.Key.Kind() == crdt.KindSession {
		until, _ = last.KeepUntil()
	} else if t, ok := r.KeepUntil(); ok {
		until = max(until, t).Add(userSlack)
	}
	return until.Add(time.Second - time.Millisecond).Std().Unix()
}

// record returns what it holds, which must be a record of k, or of its own name where k
// is zero. It fails with engine.ErrCorrupt.
func (it item) record(k crdt.Key) (crdt.Record, error) {
	r, err := crdt.DecodeRecord(it.data)
	switch {
	case err != nil:
		return crdt.Record{}, fmt.Errorf("%w: item of Region %d: %w", engine.ErrCorrupt, it.writer, err)
	case !k.IsZero() && r.Key != k, keyOf(r.Key) != it.key:
		return crdt.Record{}, fmt.Errorf("%w: item of Region %d holds another record", engine.ErrCorrupt, it.writer)
	}
	return r, nil
}

// attributes returns it as DynamoDB takes it.
func (it item) attributes() map[string]types.AttributeValue {
	return map[string]types.AttributeValue{
		attrKey:     &types.AttributeValueMemberS{Value: it.key},
		attrWriter:  number(int64(it.writer)),
		attrVersion: &types.AttributeValueMemberB{Value: it.version[:]},
		attrActor:   number(int64(it.incarnation)),
		attrWhere:   &types.AttributeValueMemberS{Value: it.where},
		attrData:    &types.AttributeValueMemberB{Value: it.data},
		attrExpiry:  number(it.expiry),
	}
}

// primary returns the primary key of it.
func (it item) primary() map[string]types.AttributeValue {
	return map[string]types.AttributeValue{
		attrKey: &types.AttributeValueMemberS{Value: it.key}, attrWriter: number(int64(it.writer)),
	}
}

func number(n int64) *types.AttributeValueMemberN {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

// decodeItem reads what attributes wrote. Attributes of other names are left alone: they
// are somebody else's. It fails with engine.ErrCorrupt.
func decodeItem(attrs map[string]types.AttributeValue) (item, error) {
	d := itemDecoder{attrs: attrs}
	it := item{
		key:         d.text(attrKey),
		writer:      crdt.Region(d.number(attrWriter, int64(crdt.MaxRegion))), //nolint:gosec // bounded
		incarnation: uint32(d.number(attrActor, maxIncarnation)),              //nolint:gosec // bounded
		where:       d.text(attrWhere),
		data:        d.bytes(attrData),
		expiry:      d.number(attrExpiry, 1<<53),
	}
	v := d.bytes(attrVersion)
	if len(v) != len(it.version) || version(v) == (version{}) {
		d.fail(attrVersion)
	}
	if len(it.key) != keyHex {
		d.fail(attrKey)
	}
	if d.bad != "" {
		return item{}, fmt.Errorf("%w: attribute %s of an item is missing or unknown", engine.ErrCorrupt, d.bad)
	}
	it.version = version(v)
	return it, nil
}

// An itemDecoder notes the first attribute that is not as it should be.
type itemDecoder struct {
	attrs map[string]types.AttributeValue
	bad   string
}

func (d *itemDecoder) fail(name string) {
	if d.bad == "" {
		d.bad = name
	}
}

func (d *itemDecoder) text(name string) string {
	if v, ok := d.attrs[name].(*types.AttributeValueMemberS); ok {
		return v.Value
	}
	d.fail(name)
	return ""
}

func (d *itemDecoder) bytes(name string) []byte {
	if v, ok := d.attrs[name].(*types.AttributeValueMemberB); ok {
		return v.Value
	}
	d.fail(name)
	return nil
}

func (d *itemDecoder) number(name string, most int64) int64 {
	v, ok := d.attrs[name].(*types.AttributeValueMemberN)
	if !ok {
		d.fail(name)
		return 0
	}
	n, err := strconv.ParseInt(v.Value, 10, 64)
	if err != nil || n < 0 || n > most {
		d.fail(name)
		return 0
	}
	return n
}
