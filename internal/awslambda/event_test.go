package awslambda

import (
	"strings"
	"testing"
)

func TestAbout(t *testing.T) {
	for id, want := range map[string]bool{
		"session-usw2": true, "Session-USW2": true, "session-usw2-001": true, "session-usw2-0001-003": true,
		"session-usw1": false, "session-usw2-": false, "session-usw2-0": false, "session-usw2x": false, "session-usw2-carts": false,
		"session-usw2-1a1": false, "": false, "session": false,
	} {
		if got := about(id, "session-usw2"); got != want {
			t.Errorf("about(%q) = %v", id, got)
		}
	}
}

// What an event says is bounded in the report, and not in what it does.
func TestHintsAreBounded(t *testing.T) {
	records := strings.Repeat(`{"Sns":{"Message":"{\"ElastiCache:`+strings.Repeat("x", 200)+`\":\"g\"}"}},`, 50)
	w := ParseEvent([]byte(`{"Records":[`+records+`{}]}`), "g")
	if !w.Look || len(w.Hints) != mostHints || len(w.Hints[0]) > mostHint || w.Malformed != 1 {
		t.Errorf("ParseEvent = %v, %d hints, %d malformed", w.Look, len(w.Hints), w.Malformed)
	}
	if w := ParseEvent([]byte(`{"Records":"`+strings.Repeat("x", mostBytes)+`"}`), "g"); w.Look || w.Malformed != 1 {
		t.Errorf("what is too large is read: %+v", w)
	}
}

func FuzzParseEvent(f *testing.F) {
	f.Add([]byte(`{"Records":[{"Sns":{"Message":"{\"ElastiCache:FailoverComplete\":\"session-usw2\"}"}}]}`))
	f.Add([]byte(`{"Records":[{"Sns":{"Message":"{\"AlarmName\":\"a\"}"}},{"Sns":null},7]}`))
	f.Add([]byte(`{"source":"aws.events"}`))
	f.Add([]byte(`{}`))
	f.Add([]byte(`null`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		w := ParseEvent(raw, "session-usw2")
		if w.Look != (len(w.Hints) > 0) || len(w.Hints) > mostHints || w.Foreign < 0 || w.Malformed < 0 {
			t.Errorf("ParseEvent(%q) = %+v", raw, w)
		}
	})
}

func FuzzParseMemory(f *testing.F) {
	f.Add(`{"role":"PRIMARY","lost":"2026-06-01T10:00:00Z","promoted":"2026-06-01T09:00:00Z"}`)
	f.Add(`{}`)
	f.Add(`{"role":"KING"}`)
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ParseMemory(text)
		if err != nil {
			return
		}
		if again, err := ParseMemory(m.String()); m.String() != "" && (err != nil || again.String() != m.String()) {
			t.Errorf("ParseMemory(%q) = %+v, which is read as %+v, %v", text, m, again, err)
		}
	})
}
