package awsplan

import "strings"

// A Fault is one thing that is wrong with Settings.
type Fault struct {
	// Path is the field, as in a file of settings: regions[1].cidr.
	Path string `json:"path"`
	// What is wrong.
	What string `json:"what"`
	// Mend says what to do.
	Mend string `json:"mend"`
}

// String returns the fault as one line.
func (f Fault) String() string { return f.Path + ": " + f.What + "; " + f.Mend }

// Faults is the error of New: all that is wrong.
type Faults []Fault

// Error returns the faults, one a line.
func (f Faults) Error() string {
	lines := make([]string, 0, len(f))
	for _, fault := range f {
		lines = append(lines, fault.String())
	}
	return strings.Join(lines, "\n")
}
