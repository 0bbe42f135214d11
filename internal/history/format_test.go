package history_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/roam-sessions/roam/internal/history"
)

// every returns an event of each kind, with all that it may have.
func every() []history.Event {
	return []history.Event{
		put(1, 2, "<x>\n", 1<<53-1, ambiguous), del(3, 4, 6, refused), see(5, 6, "x", stale, lost),
		see(5, 6, "", in(15)), at(7, 8, history.Login, ann(6)), at(9, 10, history.End, have(1, 15)),
		at(11, 12, history.Revoke, ann(0), have(2)),
		{Kind: history.Converged, Start: 13, End: 14},
	}
}

func TestFormat(t *testing.T) {
	var b bytes.Buffer
	if err := history.Encode(&b, every()); err != nil {
		t.Fatalf("Encode = %v", err)
	}
	golden := filepath.Join("testdata", "every.jsonl")
	want, err := os.ReadFile(golden)
	if err != nil || !bytes.Equal(b.Bytes(), want) {
		t.Errorf("Encode wrote\n%swant %s, %v:\n%s", &b, golden, err, want)
	}
	got, err := history.Decode(bytes.NewReader(want))
	if err != nil || !reflect.DeepEqual(got, every()) {
		t.Errorf("Decode = %+v, %v, want %+v", got, err, every())
	}
}

func TestDecodeRefuses(t *testing.T) {
	const ok = `{"history":1}` + "\n"
	for _, text := range []string{
		"", "{}\n", `{"history":2}` + "\n", `{"kind":"read"}`,
		ok + "\n", ok + "{", ok + `{"kind":"read","session":"s","region":1,"start":2,"end":1}`,
		ok + `{"kind":"read","session":"s","region":1,"start":1,"end":2}x`,
		ok + `{"kind":"read","session":"s","region":1,"start":1,"end":2,"more":1}`,
		ok + `{"kind":"read","session":"s","region":16,"start":1,"end":2}`,
		ok + `{"kind":"read","session":"s","start":1,"end":2}`,
		ok + `{"kind":"read","region":1,"start":1,"end":2}`,
		ok + `{"kind":"read","session":"s","region":1,"start":1,"end":2,"shows":[{"field":"a","value":"x","absent":true}]}`,
		ok + `{"kind":"write","session":"s","region":1,"start":1,"end":2}`,
		ok + `{"kind":"write","session":"s","region":1,"start":1,"end":2,"field":"a","value":"x","gone":true}`,
		ok + `{"kind":"login","session":"s","region":1,"start":1,"end":2}`,
		ok + `{"kind":"login","session":"s","user":"ann","began":2,"region":1,"start":1,"end":2}`,
		ok + `{"kind":"end","session":"s","region":1,"start":1,"end":2,"have":1}`,
		ok + `{"kind":"dance","session":"s","region":1,"start":1,"end":2}`,
		ok + strings.Repeat(" ", 5<<20),
	} {
		if got, err := history.Decode(strings.NewReader(text)); !errors.Is(err, history.ErrMalformed) {
			t.Errorf("Decode(%.120q) = %v, %v, want ErrMalformed", text, got, err)
		}
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, os.ErrClosed }
func (brokenPipe) Read([]byte) (int, error)  { return 0, os.ErrClosed }

func TestFormatPassesErrorsOn(t *testing.T) {
	if err := history.Encode(brokenPipe{}, every()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Encode = %v, want ErrClosed", err)
	}
	if _, err := history.Decode(brokenPipe{}); !errors.Is(err, os.ErrClosed) || errors.Is(err, history.ErrMalformed) {
		t.Errorf("Decode = %v, want ErrClosed", err)
	}
}

// What can be read can be judged, and is written back so that it reads the same.
func FuzzDecode(f *testing.F) {
	var b bytes.Buffer
	if err := history.Encode(&b, every()); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = history.ParseLine(b)
		events, err := history.Decode(bytes.NewReader(b))
		if err != nil {
			return
		}
		history.Check(events)
		var out bytes.Buffer
		if err := history.Encode(&out, events); err != nil {
			t.Fatalf("Encode(%+v) = %v", events, err)
		}
		again, err := history.Decode(&out)
		if err != nil || !reflect.DeepEqual(again, events) {
			t.Errorf("%q reads as %+v and then as %+v, %v", b, events, again, err)
		}
	})
}
