package proof

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

var update = flag.Bool("update", false, "rewrite testdata/cookies.json from this code")

func testRing(t testing.TB, names ...string) Keyring {
	t.Helper()
	var keys [][]byte
	for _, n := range names {
		sum := sha256.Sum256([]byte("test key " + n))
		keys = append(keys, sum[:])
	}
	ring, err := NewKeyring(keys...)
	if err != nil {
		t.Fatalf("NewKeyring: %v", err)
	}
	return ring
}

func dot(region crdt.Region, incarnation uint32, at crdt.Time) crdt.Dot {
	return crdt.Dot{Actor: crdt.NewActor(region, incarnation), Stamp: at.Stamp() + 7}
}

// day is a moment in 2026.
const day = crdt.Time(1000 * 24 * 3600 * 1000)

func testCredential() Credential {
	c := Credential{
		ID:    crdt.NewSessionID(day.Add(24*time.Hour), 3, crdt.IDEntropy{0, 42, 1, 2, 3, 4, 5, 6, 7, 8, 9}),
		Dot:   dot(3, 0xabcde, day),
		Gen:   1,
		Login: TagOf(crdt.SessionID{1}, "alice", 1),
	}
	copy(c.Secret[:], "sixteen  octets!")
	return c
}

func testSeens() map[string]Seen {
	id := testCredential().ID
	full := Seen{ID: id, User: crdt.UserKey("alice")}
	for r := crdt.Region(1); r <= crdt.MaxTokenDots; r++ {
		full.Token = full.Token.With(dot(r, uint32(r), day.Add(time.Duration(r)*time.Second)))
		full.Epochs = full.Epochs.With(dot(r, uint32(r), day.Add(-time.Duration(r)*time.Second)))
	}
	return map[string]Seen{
		"floor alone":     {Token: crdt.Token{}.WithFloor(day.Stamp())},
		"one write":       {ID: id, Token: crdt.Token{}.With(dot(3, 0xabcde, day))},
		"all it can hold": full,
	}
}

// A vector is one cookie as docs/formats/cookies.md has it.
type vector struct {
	Name, Kind, Key, Cookie string
	ID, Secret, Dot, Login  string   `json:",omitempty"`
	Gen                     uint32   `json:",omitempty"`
	Floor                   string   `json:",omitempty"`
	Token                   []string `json:",omitempty"`
	User                    string   `json:",omitempty"`
	Epochs                  []string `json:",omitempty"`
	Salt, Since, Record     string   `json:",omitempty"`
	Bare                    bool     `json:",omitempty"`
}

func describeCredential(c Credential) vector {
	return vector{ID: hex.EncodeToString(c.ID[:]), Secret: hex.EncodeToString(c.Secret[:]), Dot: c.Dot.String(), Gen: c.Gen, Login: hex.EncodeToString(c.Login[:])}
}

func describeSeen(s Seen) vector {
	v := vector{ID: hex.EncodeToString(s.ID[:]), Floor: s.Token.Floor().String()}
	for _, d := range s.Token.Dots() {
		v.Token = append(v.Token, d.String())
	}
	for _, d := range s.Epochs {
		v.Epochs = append(v.Epochs, d.String())
	}
	if len(s.Epochs) > 0 {
		v.User = hex.EncodeToString(s.User.Name())
	}
	return v
}

// What older code wrote is read for ever, and written the same until the
// version changes.
func TestCookieVectors(t *testing.T) {
	const file = "testdata/cookies.json"
	key := sha256.Sum256([]byte("test key first"))
	ring := testRing(t, "first")
	if *update {
		writeVectors(t, file, hex.EncodeToString(key[:]), ring)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(b, &vectors); err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		raw, err := hex.DecodeString(v.Key)
		if err != nil {
			t.Fatalf("%s: key: %v", v.Name, err)
		}
		ring, err := NewKeyring(raw)
		if err != nil {
			t.Fatalf("%s: NewKeyring: %v", v.Name, err)
		}
		got, again, err := openVector(t, v, ring)
		if err != nil {
			t.Errorf("%s: %v", v.Name, err)
			continue
		}
		got.Name, got.Kind, got.Key, got.Cookie = v.Name, v.Kind, v.Key, again
		gotJSON, wantJSON := encode(t, got), encode(t, v)
		if !bytes.Equal(gotJSON, wantJSON) {
			t.Errorf("%s: read as\n%s\nwant\n%s", v.Name, gotJSON, wantJSON)
		}
	}
	if len(vectors) < 6 {
		t.Errorf("%d vectors in %s, want 6 or more", len(vectors), file)
	}
}

// openVector returns what the cookie of v reads as, and that written again.
func openVector(t *testing.T, v vector, ring Keyring) (got vector, again string, err error) {
	t.Helper()
	switch v.Kind {
	case "credential":
		c, err := ring.OpenCredential(v.Cookie)
		return describeCredential(c), ring.SignCredential(c), err
	case "seen":
		s, err := ring.OpenSeen(v.Cookie)
		return describeSeen(s), ring.SignSeen(s), err
	case "sealed":
		s, err := ring.OpenSealed(v.Cookie)
		if err != nil {
			return vector{}, "", err
		}
		got = describeSealed(s)
		got.Salt = v.Salt
		return got, sealAgain(t, ring, s, v.Salt), nil
	}
	t.Fatalf("%s: kind %q", v.Name, v.Kind)
	return vector{}, "", nil
}

func writeVectors(t *testing.T, file, key string, ring Keyring) {
	t.Helper()
	c := testCredential()
	v := describeCredential(c)
	v.Name, v.Kind, v.Key, v.Cookie = "credential", "credential", key, ring.SignCredential(c)
	out := []vector{v}
	seens := testSeens()
	for _, name := range []string{"floor alone", "one write", "all it can hold"} {
		v := describeSeen(seens[name])
		v.Name, v.Kind, v.Key, v.Cookie = name, "seen", key, ring.SignSeen(seens[name])
		out = append(out, v)
	}
	for _, name := range []string{"sealed session", "sealed without its fields"} {
		s := testSealed()[name]
		v := describeSealed(s)
		v.Name, v.Kind, v.Key, v.Salt = name, "sealed", key, hex.EncodeToString([]byte("salt of a vector"))
		v.Cookie = sealAgain(t, ring, s, v.Salt)
		out = append(out, v)
	}
	b, err := json.MarshalIndent(out, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil { //nolint:gosec // a test file
		t.Fatal(err)
	}
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSeenComesBack(t *testing.T) {
	ring := testRing(t, "first")
	for name, want := range testSeens() {
		value := ring.SignSeen(want)
		got, err := ring.OpenSeen(value)
		if err != nil || !got.Equal(want) {
			t.Errorf("%s: OpenSeen(SignSeen(s)) = %+v, %v, want %+v", name, got, err, want)
		}
		if len(value) > maxCookieBytes {
			t.Errorf("%s: %d bytes, want at most %d", name, len(value), maxCookieBytes)
		}
	}
}

// A value has one spelling: the decoder of base64 would pass over ends of lines.
func TestCookieHasOneSpelling(t *testing.T) {
	ring := testRing(t, "first")
	for name, seen := range testSeens() {
		value := ring.SignSeen(seen)
		for _, other := range []string{value[:9] + "\n" + value[9:], value + "\r", "\n" + value} {
			if _, err := ring.OpenSeen(other); err == nil {
				t.Errorf("%s: OpenSeen(%q) accepts another spelling of %q", name, other, value)
			}
		}
	}
}

// A cookie of one kind is none of the other, even with equal bytes.
func TestPurposesHaveTheirOwnKeys(t *testing.T) {
	ring := testRing(t, "first")
	body := append([]byte{cookieVersion, ring.keys[0].id}, make([]byte, credentialBytes-2)...)
	if _, err := ring.OpenSeen(sign(body, ring.keys[0].credential)); err == nil {
		t.Error("OpenSeen accepts what was signed as a credential")
	}
	if _, err := ring.OpenCredential(ring.SignSeen(testSeens()["one write"])); err == nil {
		t.Error("OpenCredential accepts a token")
	}
}

// FuzzCredential: a value that was not signed is refused. Of signed bytes only
// those are accepted that SignCredential makes.
func FuzzCredential(f *testing.F) {
	ring := testRing(f, "first")
	value := ring.SignCredential(testCredential())
	f.Add(value, []byte(nil))
	f.Add("", body(f, value))
	f.Add("AQ", []byte{1})
	f.Fuzz(func(t *testing.T, value string, signed []byte) {
		if c, err := ring.OpenCredential(value); err == nil && ring.SignCredential(c) != value {
			t.Errorf("OpenCredential(%q) accepts what SignCredential does not make", value)
		}
		value = sign(append([]byte{cookieVersion, ring.keys[0].id}, signed...), ring.keys[0].credential)
		if c, err := ring.OpenCredential(value); err == nil && ring.SignCredential(c) != value {
			t.Errorf("OpenCredential accepts signed %x, which SignCredential does not make", signed)
		}
	})
}

// FuzzSeen: as FuzzCredential, for the token.
func FuzzSeen(f *testing.F) {
	ring := testRing(f, "first")
	for _, s := range testSeens() {
		value := ring.SignSeen(s)
		f.Add(value, body(f, value))
	}
	f.Add("AQ", []byte{1})
	f.Fuzz(func(t *testing.T, value string, signed []byte) {
		if s, err := ring.OpenSeen(value); err == nil && ring.SignSeen(s) != value {
			t.Errorf("OpenSeen(%q) accepts what SignSeen does not make", value)
		}
		value = sign(append([]byte{cookieVersion, ring.keys[0].id}, signed...), ring.keys[0].seen)
		if s, err := ring.OpenSeen(value); err == nil && ring.SignSeen(s) != value {
			t.Errorf("OpenSeen accepts signed %x, which SignSeen does not make", signed)
		}
	})
}

// body returns what is signed in a cookie, after version and key.
func body(f *testing.F, value string) []byte {
	f.Helper()
	b, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil {
		f.Fatal(err)
	}
	return b[2 : len(b)-macBytes]
}

func BenchmarkOpenCredential(b *testing.B) {
	ring := testRing(b, "first")
	value := ring.SignCredential(testCredential())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ring.OpenCredential(value); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenSeen(b *testing.B) {
	ring := testRing(b, "first")
	value := ring.SignSeen(testSeens()["one write"])
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ring.OpenSeen(value); err != nil {
			b.Fatal(err)
		}
	}
}
