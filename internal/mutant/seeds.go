package mutant

// seeds returns the first seed of the simulator that finds each mutant.
func seeds() map[string]uint64 {
	return map[string]uint64{}
}
