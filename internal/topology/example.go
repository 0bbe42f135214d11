package topology

import _ "embed" // the examples

//go:embed example.yaml
var example string

//go:embed control.yaml
var controlled string

//go:embed postgres.yaml
var onPostgres string

//go:embed dsql.yaml
var onDSQL string

//go:embed dynamo.yaml
var onDynamo string

// Example returns a file with comments: three Regions on one machine.
func Example() string { return example }

// ControlExample returns another: two Regions and a witness, which decide together
// which Region takes all writes.
func ControlExample() string { return controlled }

// EngineExample returns a file with comments of Regions that keep sessions in a kind of
// engine; that of Example has memory and tells of valkey. It reports false for others.
func EngineExample(kind string) (string, bool) {
	text, ok := map[string]string{
		kindMemory: example, kindValkey: example, kindPostgres: onPostgres, kindDSQL: onDSQL, kindDynamo: onDynamo,
	}[kind]
	return text, ok
}

// Kinds returns the kinds of engines, as they are called in the file.
func Kinds() []string { return []string{kindMemory, kindValkey, kindPostgres, kindDSQL, kindDynamo} }

//go:embed datastore.yaml
var datastore string

// DatastoreExample returns one more: two Regions of a Global Datastore of ElastiCache.
func DatastoreExample() string { return datastore }
