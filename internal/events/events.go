package events

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/roam-sessions/roam/internal/ledger"
)

// version is that of the shape in which events leave the process.
const version = 1

// KindTest is the kind of what Deliverer.Test sends. No event of the ledger has it.
const KindTest ledger.Kind = "test"

// A Source is where events are from. The events are in order, their numbers grow by one,
// and the oldest are gone. The channel is closed when there may be newer ones.
type Source func() ([]ledger.Event, <-chan struct{})

// A Message is an event as it leaves the process.
type Message struct {
	Version int `json:"version"`
	// ID is the same whenever the same event is sent, and of no other.
	ID         string      `json:"id"`
	Deployment string      `json:"deployment"`
	Seq        uint64      `json:"seq"` // zero: of a test
	At         time.Time   `json:"at"`
	Kind       ledger.Kind `json:"kind"`
	Region     string      `json:"region,omitempty"`
	Other      string      `json:"other,omitempty"`
	Epoch      uint64      `json:"epoch,omitempty"`
	Text       string      `json:"text"`
}

// MessageOf returns the message of an event.
func MessageOf(deployment string, e ledger.Event) Message {
	return Message{
		Version: version, ID: deployment + "-" + strconv.FormatUint(e.Seq, 10), Deployment: deployment, Seq: e.Seq,
		At: e.At.UTC(), Kind: e.Kind, Region: e.Region, Other: e.Other, Epoch: e.Epoch, Text: e.Text,
	}
}

// encode returns the message's bytes, in our own shape.
func (m Message) encode() ([]byte, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode event %s: %w", m.ID, err)
	}
	return b, nil
}

// after returns the events of a ring that are newer than a number, and how many that were
// newer are gone.
func after(ring []ledger.Event, seq uint64) (newer []ledger.Event, missed uint64) {
	i, _ := slices.BinarySearchFunc(ring, seq+1, func(e ledger.Event, at uint64) int {
		switch {
		case e.Seq < at:
			return -1
		case e.Seq > at:
			return 1
		}
		return 0
	})
	newer = ring[i:]
	if len(newer) > 0 {
		missed = newer[0].Seq - seq - 1
	}
	return newer, missed
}
