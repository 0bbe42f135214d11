package controlsim

import (
	"math/bits"
	"slices"
)

// A set is one of writes, by their numbers.
type set []uint64

func (s set) has(w int) bool { return w/64 < len(s) && s[w/64]>>(w%64)&1 == 1 }

func (s *set) add(w int) {
	for len(*s) <= w/64 {
		*s = append(*s, 0)
	}
	(*s)[w/64] |= 1 << (w % 64)
}

func (s set) clone() set { return slices.Clone(s) }

// join adds all of another set.
func (s *set) join(o set) {
	for len(*s) < len(o) {
		*s = append(*s, 0)
	}
	for i, word := range o {
		(*s)[i] |= word
	}
}

// without returns what is in s and not in o.
func (s set) without(o set) set {
	out := s.clone()
	for i := range out {
		if i < len(o) {
			out[i] &^= o[i]
		}
	}
	return out
}

// within returns what is in both.
func (s set) within(o set) set {
	out := s[:min(len(s), len(o))].clone()
	for i := range out {
		out[i] &= o[i]
	}
	return out
}

func (s set) len() (n int) {
	for _, word := range s {
		n += bits.OnesCount64(word)
	}
	return n
}

// all returns the numbers, in their order.
func (s set) all() (out []int) {
	for i, word := range s {
		for ; word != 0; word &= word - 1 {
			out = append(out, 64*i+bits.TrailingZeros64(word))
		}
	}
	return out
}
