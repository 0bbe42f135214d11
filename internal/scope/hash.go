package scope

import (
	"encoding/binary"
	"math/bits"
)

// A sum is 128 bits of what a state is. Two states with one sum would be taken for
// one: with ten million of them, once in 10^24 runs.
type sum [2]uint64

// Odd numbers without structure, from the digits of pi.
const (
	mix0 = 0x243f6a8885a308d3
	mix1 = 0x13198a2e03707345
	mix2 = 0xa4093822299f31d1
)

// add returns s having taken in v. Order counts.
func (s sum) add(v uint64) sum {
	hi, lo := bits.Mul64(s[0]^v^mix0, s[1]^bits.RotateLeft64(v, 29)^mix1)
	return sum{hi ^ s[1] + mix2, lo ^ bits.RotateLeft64(s[0], 31) + v}
}

// addSum returns s having taken in t.
func (s sum) addSum(t sum) sum { return s.add(t[0]).add(t[1]) }

// sumOf returns the sum of b, its length included.
func sumOf(b []byte) sum {
	s := sum{mix1, mix2}.add(uint64(len(b)))
	for ; len(b) >= 8; b = b[8:] {
		s = s.add(binary.LittleEndian.Uint64(b))
	}
	var last [8]byte
	copy(last[:], b)
	return s.add(binary.LittleEndian.Uint64(last[:]))
}
