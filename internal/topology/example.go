package topology

import _ "embed" // the example

//go:embed example.yaml
var example string

//go:embed control.yaml
var controlled string

// Example returns a file with comments: three Regions on one machine.
func Example() string { return example }

// ControlExample returns another: two Regions and a witness, which decide together
// which Region takes all writes.
func ControlExample() string { return controlled }

//go:embed datastore.yaml
var datastore string

// DatastoreExample returns one more: two Regions of a Global Datastore of ElastiCache.
func DatastoreExample() string { return datastore }
