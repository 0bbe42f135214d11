package awslambda

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// A Wake is what became of an event: whether to look, and why.
type Wake struct {
	Look      bool
	Hints     []string // what woke, for the report; at most mostHints
	Foreign   int      // messages that were about others
	Malformed int      // messages, or the event, that could not be read
}

const (
	// mostBytes bounds an event. Lambda's own bound for what is invoked asynchronously
	// is a quarter of it. What is larger is not read.
	mostBytes = 1 << 20
	// mostHints bounds what is reported of an event; further hints wake all the same.
	mostHints = 8
	// mostHint bounds one hint in the report.
	mostHint = 80
)

// cachePrefix begins each key of a message that names an event of ElastiCache.
const cachePrefix = "ElastiCache:"

// ParseEvent reads what Lambda was invoked with: messages of SNS, of which each Record and each
// key counts, in any order; the tick of a schedule; or nothing at all. Nothing in it is
// believed beyond that one should look, so an unknown event of our group wakes as a known one
// does, and so does one whose value can't be told to be another's. Ours are the IDs of our group
// and of the Global Datastore: nobody has written down which of them a promotion names.
func ParseEvent(raw []byte, ours ...string) Wake {
	var w Wake
	var event struct {
		Records json.RawMessage
		Source  string `json:"source"`
	}
	fields := map[string]json.RawMessage{}
	if len(raw) > mostBytes || json.Unmarshal(raw, &fields) != nil || json.Unmarshal(raw, &event) != nil {
		w.Malformed++
		return w
	}
	switch {
	case event.Records != nil:
		w.records(event.Records, ours)
	case event.Source == "aws.events", len(fields) == 0:
		w.hint("schedule")
	default:
		w.Foreign++
	}
	return w
}

func (w *Wake) records(raw json.RawMessage, ours []string) {
	var records []json.RawMessage
	if json.Unmarshal(raw, &records) != nil {
		w.Malformed++
		return
	}
	for _, raw := range records {
		var record struct {
			SNS struct{ Message string } `json:"Sns"`
		}
		message := map[string]json.RawMessage{}
		if json.Unmarshal(raw, &record) != nil || json.Unmarshal([]byte(record.SNS.Message), &message) != nil || len(message) == 0 {
			w.Malformed++
			continue
		}
		w.message(message, ours)
	}
}

// message looks at every key of a message. One of them that is ours is enough.
func (w *Wake) message(message map[string]json.RawMessage, ids []string) {
	if name, ok := word(message["AlarmName"]); ok {
		w.hint("alarm " + name)
		return
	}
	ours := false
	for key, raw := range message {
		if !strings.HasPrefix(key, cachePrefix) {
			continue
		}
		value, ok := word(raw)
		if ok && !anyOf(value, ids) {
			if of, named := word(message["Replication Group ID"]); !named || !anyOf(of, ids) {
				continue
			}
		}
		ours = true
		w.hint(strings.TrimPrefix(key, cachePrefix))
	}
	if !ours {
		w.Foreign++
	}
}

func (w *Wake) hint(text string) {
	w.Look = true
	if len(w.Hints) < mostHints {
		w.Hints = append(w.Hints, fmt.Sprintf("%.*s", mostHint, text))
	}
}

// word reads a JSON string; false: it is something else, or not there.
func word(raw json.RawMessage) (string, bool) {
	var s string
	if len(raw) == 0 || json.Unmarshal(raw, &s) != nil || string(raw) == "null" {
		return "", false
	}
	return s, true
}

func anyOf(id string, ids []string) bool {
	return slices.ContainsFunc(ids, func(group string) bool { return about(id, group) })
}

// about reports whether an ID is a group's own, or one of its nodes': <group>-001, or
// <group>-0001-001 in cluster mode.
func about(id, group string) bool {
	if strings.EqualFold(id, group) {
		return true
	}
	if len(id) <= len(group) || !strings.EqualFold(id[:len(group)], group) {
		return false
	}
	rest := id[len(group):]
	return rest[0] == '-' && len(rest) > 3 && strings.Trim(rest, "-0123456789") == ""
}
