package roam

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"github.com/roam-sessions/roam/crdt"
)

// A Value is the name of a field that holds a T. Make it a constant:
//
//	const theme roam.Value[string] = "theme"
//
// Of concurrent writes in different Regions the later one holds. T is stored as
// CBOR; a struct's fields may be added later, not change their type.
type Value[T any] string

// Get returns the field's value in s; the zero T if there is none, or none that
// is a T. Lookup tells the two apart.
func (v Value[T]) Get(s *Session) T {
	x, _, _ := v.Lookup(s)
	return x
}

// Lookup returns the field's value in s and whether there is one. It fails if
// the bytes there are not a T.
func (v Value[T]) Lookup(s *Session) (x T, ok bool, err error) {
	b, ok := s.value(string(v))
	if !ok {
		return x, false, nil
	}
	if err := cbor.Unmarshal(b, &x); err != nil {
		var none T
		return none, true, fmt.Errorf("read field %q: %w", string(v), err)
	}
	return x, true, nil
}

// Set sets the field to x in s. It is written when the session is committed. It
// fails if a T can't be stored.
func (v Value[T]) Set(s *Session, x T) error {
	b, err := cbor.Marshal(x)
	if err != nil {
		return fmt.Errorf("set field %q: %w", string(v), err)
	}
	s.change("."+string(v), func(o *overlay) { o.value, o.gone = b, false }, crdt.Put(string(v), b))
	return nil
}

// Delete removes the field from s.
func (v Value[T]) Delete(s *Session) {
	s.change("."+string(v), func(o *overlay) { o.value, o.gone = nil, true }, crdt.Delete(string(v)))
}

// A Counter is the name of a field that counts. What different Regions add at
// the same time is all counted.
type Counter string

// Get returns the count in s.
func (c Counter) Get(s *Session) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.standing.Record.Count(string(c)) + s.changes["#"+string(c)].delta
}

// Add adds n, which may be negative, to the count in s.
func (c Counter) Add(s *Session, n int64) {
	name := "#" + string(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.changes[name]
	o.delta += n
	o.change = crdt.Add(string(c), o.delta)
	s.set(name, o)
}

// A Set is the name of a field that holds a set of strings. Elements added in
// different Regions at the same time are all kept.
type Set string

// Has reports whether element is in the set in s.
func (x Set) Has(s *Session, element string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o, ok := s.changes[x.field(element)]; ok {
		return !o.gone
	}
	return s.standing.Record.Contains(string(x), element)
}

// All returns the elements of the set in s, sorted.
func (x Set) All(s *Session) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.elements(string(x))
}

// Add puts element into the set in s.
func (x Set) Add(s *Session, element string) {
	s.change(x.field(element), func(o *overlay) { o.gone = false }, crdt.Mark(string(x), element))
}

// Remove takes element out of the set in s. A later Add brings it back.
func (x Set) Remove(s *Session, element string) {
	s.change(x.field(element), func(o *overlay) { o.gone = true }, crdt.Unmark(string(x), element))
}

// Clear takes out every element that s shows. One that is being added in
// another Region stays.
func (x Set) Clear(s *Session) {
	for _, e := range x.All(s) {
		x.Remove(s, e)
	}
}

func (x Set) field(element string) string { return "&" + string(x) + "\x00" + element }
