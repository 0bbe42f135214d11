package mutant

import "slices"

// All returns every mutant there is.
func All() []Mutant {
	all := slices.Concat(
		ofRecord(), ofCounters(), ofStamps(), ofProof(), ofSealed(), ofRevocation(), ofEndings(),
		ofReplication(), ofMemory(), ofComparing(), ofReading(), ofMisses(), ofWriting(),
		ofControl(),
	)
	known := seeds()
	for i := range all {
		all[i].Seed = known[all[i].Name]
	}
	return all
}

func one(file, old, to string) []Edit { return []Edit{{file, old, to}} }

// Named returns the mutant called name, and whether there is one.
func Named(name string) (Mutant, bool) {
	i := slices.IndexFunc(All(), func(m Mutant) bool { return m.Name == name })
	if i < 0 {
		return Mutant{}, false
	}
	return All()[i], true
}
