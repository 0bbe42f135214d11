package topology

import _ "embed" // the example

//go:embed example.yaml
var example string

// Example returns a file with comments: three Regions on one machine.
func Example() string { return example }
