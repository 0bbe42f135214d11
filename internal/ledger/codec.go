package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// version is what all bytes say of themselves. Members of one that they don't know stop.
const version = 1

// ErrVersion says that bytes are of a later version of Roam.
var ErrVersion = errors.New("of a later version")

type commandBytes struct {
	V int `json:"v"`
	Command
}

type stateBytes struct {
	V int `json:"v"`
	State
}

// Encode returns a command's bytes. What can't be encoded, such as a time in the year
// 10000, is the caller's mistake.
func (c Command) Encode() ([]byte, error) {
	out, err := json.Marshal(commandBytes{version, c})
	if err != nil {
		return nil, fmt.Errorf("encode a command: %w", err)
	}
	return out, nil
}

// Decode returns the command of its bytes.
func Decode(b []byte) (Command, error) {
	var c commandBytes
	if err := strict(b, &c); err != nil {
		return Command{}, fmt.Errorf("decode a command: %w", err)
	}
	if c.V != version {
		return Command{}, fmt.Errorf("decode a command: %w: %d", ErrVersion, c.V)
	}
	return c.Command, nil
}

// Snapshot returns a State's bytes.
func (s State) Snapshot() ([]byte, error) {
	out, err := json.Marshal(stateBytes{version, s})
	if err != nil {
		return nil, fmt.Errorf("encode a state: %w", err)
	}
	return out, nil
}

// Restore returns the State of its bytes; no bytes: the zero one.
func Restore(b []byte) (State, error) {
	if len(b) == 0 {
		return State{}, nil
	}
	var s stateBytes
	if err := strict(b, &s); err != nil {
		return State{}, fmt.Errorf("decode a state: %w", err)
	}
	if s.V != version {
		return State{}, fmt.Errorf("decode a state: %w: %d", ErrVersion, s.V)
	}
	return s.State, nil
}

// strict decodes one JSON value with no unknown keys: a key that this version does not
// know is a change that it would not make.
func strict(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more behind it")
	}
	return nil
}
