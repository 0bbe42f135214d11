package shop

import (
	"fmt"
	"strconv"
)

// An item is something for sale.
type item struct {
	id    string
	name  string
	about string
	cents int
}

func catalogue() []item {
	return []item{
		{"notebook", "Field notebook", "Stone paper: rain runs off it.", 1250},
		{"map", "Trail map", "All paths, no batteries.", 900},
		{"mug", "Enamel mug", "Chips, but never breaks.", 1400},
		{"pack", "Day pack", "18 litres, one long zip.", 6900},
		{"lamp", "Head lamp", "Red light for tired eyes.", 3450},
		{"blanket", "Wool blanket", "Warm even when wet.", 8200},
		{"compass", "Compass", "Knows one thing, and is sure of it.", 2800},
		{"jacket", "Rain jacket", "Folds into its own pocket.", 11900},
	}
}

func itemCalled(id string) (item, bool) {
	for _, it := range catalogue() {
		if it.id == id {
			return it, true
		}
	}
	return item{}, false
}

func price(cents int) string { return fmt.Sprintf("$%d.%02d", cents/100, cents%100) }

func itoa(n int) string { return strconv.Itoa(n) }
