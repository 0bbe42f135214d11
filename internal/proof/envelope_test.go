package proof

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

func testSealed() map[string]Sealed {
	id := testCredential().ID
	rec := crdt.Record{
		Key: crdt.SessionKey(id), Abs: id.Deadline(), Touch: day, User: "alice",
		Born:   crdt.Born{Dot: dot(3, 7, day), Created: day, Idle: 30 * time.Minute},
		Auth:   crdt.Auth{Gen: 1, Dot: dot(3, 7, day), Cur: testCredential().Hash(), At: day},
		Fields: []crdt.Field{{Name: ".theme", Dot: dot(3, 7, day), Value: []byte("dark")}},
	}
	bare := rec
	bare.Fields = nil
	return map[string]Sealed{
		"sealed session":            {Record: rec, Since: day.Add(time.Minute)},
		"sealed without its fields": {Record: bare, Since: day, Bare: true},
	}
}

func describeSealed(s Sealed) vector {
	return vector{
		Since: fmt.Sprint(int64(s.Since)), Bare: s.Bare,
		Record: hex.EncodeToString(crdt.AppendRecord(nil, s.Record)),
	}
}

func sealAgain(t testing.TB, ring Keyring, s Sealed, salt string) string {
	t.Helper()
	b, err := hex.DecodeString(salt)
	if err != nil || len(b) != sealSaltBytes {
		t.Fatalf("salt %q: %v", salt, err)
	}
	value, err := ring.Seal(s, [sealSaltBytes]byte(b), enough)
	if err != nil {
		t.Fatalf("Seal: %v", err)
	}
	return value
}

// What was sealed and edited, or cut, or sealed by a key that is not ours, is
// nobody's.
func TestEditedSealedCookies(t *testing.T) {
	ring := testRing(t, "first")
	value := sealAgain(t, ring, testSealed()["sealed session"], hex.EncodeToString([]byte("salt of a vector")))
	raw, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		edited := append([]byte(nil), raw...)
		edited[i] ^= 1
		if _, err := ring.OpenSealed(base64.RawURLEncoding.EncodeToString(edited)); !errors.Is(err, ErrCookie) {
			t.Errorf("edited at byte %d: %v, want ErrCookie", i, err)
		}
	}
	for name, v := range map[string]string{
		"empty": "", "cut": value[:len(value)-4], "longer": value + "A", "padded": value + "=", "short": "AQ",
		"long":         strings.Repeat("A", 10_000),
		"a credential": ring.SignCredential(testCredential()),
	} {
		if _, err := ring.OpenSealed(v); !errors.Is(err, ErrCookie) {
			t.Errorf("%s: %v, want ErrCookie", name, err)
		}
	}
	for n := 1; n < 4; n++ { // one of three lengths leaves no loose bits
		s := testSealed()["sealed session"]
		s.Record.User = s.Record.User[:n]
		value := sealAgain(t, ring, s, hex.EncodeToString([]byte("salt of a vector")))
		last := len(value) - 1
		const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		loose := value[:last] + string(digits[(strings.IndexByte(digits, value[last])+1)%64])
		if _, err := ring.OpenSealed(loose); err == nil {
			t.Errorf("with other loose bits at the end: no error, want ErrCookie")
		}
	}
	if _, err := testRing(t, "second").OpenSealed(value); !errors.Is(err, ErrCookie) {
		t.Errorf("with another key: %v, want ErrCookie", err)
	}
	if _, err := testRing(t, "second", "first").OpenSealed(value); err != nil {
		t.Errorf("with the key as an old one: %v", err)
	}
}

// What we sealed and would never seal is refused as well.
func TestOddSealedCookies(t *testing.T) {
	ring := testRing(t, "first")
	salt := entropy(1).salt()
	good := testSealed()["sealed session"]
	odd := map[string]func(*Sealed){
		"a vector":    func(s *Sealed) { s.Record.VV = crdt.Vector{dot(3, 7, day)} },
		"dead":        func(s *Sealed) { s.Record = crdt.Record{Key: s.Record.Key, Dead: true} },
		"unborn":      func(s *Sealed) { s.Record.Born = crdt.Born{} },
		"no proof":    func(s *Sealed) { s.Record.Auth = crdt.Auth{} },
		"bare fields": func(s *Sealed) { s.Bare = true },
		"a user":      func(s *Sealed) { s.Record = crdt.Record{Key: crdt.UserKey("alice")} },
	}
	for name, edit := range odd {
		s := good
		edit(&s)
		value, err := ring.Seal(s, salt, enough)
		if err != nil {
			t.Fatalf("%s: Seal: %v", name, err)
		}
		if _, err := ring.OpenSealed(value); !errors.Is(err, ErrCookie) {
			t.Errorf("%s: OpenSealed = %v, want ErrCookie", name, err)
		}
	}
}

// FuzzSealed: a value that was not sealed is refused. Of what is sealed properly
// only that is accepted which Seal makes.
func FuzzSealed(f *testing.F) {
	ring := testRing(f, "first")
	salt := entropy(1).salt()
	for _, s := range testSealed() {
		value, err := ring.Seal(s, salt, enough)
		if err != nil {
			f.Fatal(err)
		}
		plain := appendTime([]byte{0}, s.Since)
		f.Add(value, crdt.AppendRecord(plain, s.Record))
		f.Add(value[:len(value)-8], plain)
		f.Add(value, crdt.AppendRecord(appendTime([]byte{flagBare << 1}, s.Since), s.Record))
	}
	f.Add("AQ", []byte{flagBare})
	f.Fuzz(func(t *testing.T, value string, plain []byte) {
		if s, err := ring.OpenSealed(value); err == nil {
			raw, err := base64.RawURLEncoding.DecodeString(value)
			if err != nil {
				t.Fatalf("OpenSealed accepts %q, which is not base64", value)
			}
			again, err := ring.Seal(s, [sealSaltBytes]byte(raw[2:sealHeader]), enough)
			if err != nil || again != value {
				t.Errorf("OpenSealed(%q) accepts what Seal does not make", value)
			}
		}
		head := append([]byte{cookieVersion, ring.keys[0].id}, salt[:]...)
		aead, nonce, err := ring.keys[0].envelope(salt[:])
		if err != nil {
			t.Fatal(err)
		}
		value = base64.RawURLEncoding.EncodeToString(aead.Seal(head, nonce, plain, head))
		s, err := ring.OpenSealed(value)
		if err != nil {
			return
		}
		if again, err := ring.Seal(s, salt, enough); err != nil || again != value {
			t.Errorf("OpenSealed accepts sealed %x, which Seal does not make", plain)
		}
		s.spent(day)
		Visit{Sealed: [Slots]Sealed{s, s}}.Judge(Answer{Unread: true}, day)
	})
}

// Two cookies with the same content share no byte but the first two, and the key
// of one says nothing of the other's.
func TestSealsDiffer(t *testing.T) {
	ring := testRing(t, "first")
	s := testSealed()["sealed session"]
	values := map[string]bool{}
	for n := range byte(20) {
		value, err := ring.Seal(s, entropy(n).salt(), enough)
		if err != nil {
			t.Fatal(err)
		}
		values[value[32:60]] = true
	}
	if len(values) != 20 {
		t.Errorf("20 cookies have %d contents, want 20", len(values))
	}
}

func TestSealedFitsItsRoom(t *testing.T) {
	ring := testRing(t, "first")
	s := testSealed()["sealed session"]
	value, err := ring.Seal(s, entropy(1).salt(), enough)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ring.Seal(s, entropy(1).salt(), len(value)); err != nil {
		t.Errorf("with just enough room: %v", err)
	}
	if _, err := ring.Seal(s, entropy(1).salt(), len(value)-1); !errors.Is(err, ErrTooLarge) {
		t.Errorf("with a byte too little: %v, want ErrTooLarge", err)
	}
}

func TestSealedDoesNotPrint(t *testing.T) {
	s := testSealed()["sealed session"]
	st := Standing{Sealed: s}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		out := fmt.Sprintf(verb, s) + fmt.Sprintf(verb, st.Sealed)
		if strings.Contains(out, "alice") || strings.Contains(out, "dark") || strings.Contains(out, "6461726b") {
			t.Errorf("%s prints %s", verb, out)
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	ring := testRing(b, "first")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ring.Seal(testSealed()["sealed session"], entropy(1).salt(), enough); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenSealed(b *testing.B) {
	ring := testRing(b, "first")
	value := sealAgain(b, ring, testSealed()["sealed session"], hex.EncodeToString([]byte("salt of a vector")))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ring.OpenSealed(value); err != nil {
			b.Fatal(err)
		}
	}
}
