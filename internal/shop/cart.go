package shop

import (
	"crypto/rand"
	"errors"
	"slices"
	"strings"

	"github.com/roam-sessions/roam"
)

// The fields of a session that the shop uses.
const (
	// pieces has one element for each piece in the cart: the item and a random
	// mark. Pieces put in at the same time in two Regions are all kept, taking a
	// piece out twice takes it out once, and what is taken out is only what the
	// page showed. A counter for each item would do the first, but two removals
	// in two Regions could bring it below zero, and the next piece would vanish.
	// Adding an element may also be repeated anywhere after a timeout; adding to
	// a counter may not.
	pieces roam.Set           = "cart"
	visits roam.Counter       = "visits"
	theme  roam.Value[string] = "theme"
)

// maxPieces bounds a cart. A piece taken out leaves a mark of some 40 bytes in
// the session, so carts that are filled and emptied 100 times over end with the
// session's own limit instead.
const maxPieces = 99

var errCartFull = errors.New("cart is full")

// A line is how many pieces of one item are in a cart.
type line struct {
	Item     string `json:"item"`
	Quantity int    `json:"quantity"`
}

// lines returns what is in the cart, in the catalogue's order.
func lines(s *roam.Session) []line {
	quantity := map[string]int{}
	for _, piece := range pieces.All(s) {
		id, _, _ := strings.Cut(piece, mark)
		quantity[id]++
	}
	out := []line{} // not null in JSON
	for _, it := range catalogue() {
		if n := quantity[it.id]; n > 0 {
			out = append(out, line{it.id, n})
		}
	}
	return out
}

// mark stands between the item and what tells its pieces apart. No item's id
// has one.
const mark = "."

// markChars is how much of a random text (5 bits a character) tells pieces of
// one item apart: 40 bits, of which two meet once in 10^8 full carts.
const markChars = 8

// putIn puts one piece of an item into the cart. It fails with errCartFull.
func putIn(s *roam.Session, it item) error {
	if len(pieces.All(s)) >= maxPieces {
		return errCartFull
	}
	pieces.Add(s, it.id+mark+rand.Text()[:markChars])
	return nil
}

// takeOut takes one piece of an item out of the cart, or all that s shows.
func takeOut(s *roam.Session, it item, all bool) {
	shown := slices.DeleteFunc(pieces.All(s), func(p string) bool { return !strings.HasPrefix(p, it.id+mark) })
	if !all {
		shown = shown[:min(1, len(shown))]
	}
	for _, p := range shown {
		pieces.Remove(s, p)
	}
}

func themes() []string { return []string{"auto", "light", "dark"} }

// themeOf returns a session's theme; one that is not ours counts as auto.
func themeOf(s *roam.Session) string {
	if t := theme.Get(s); slices.Contains(themes(), t) {
		return t
	}
	return "auto"
}
