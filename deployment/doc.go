// Package deployment opens what an application needs of a deployment, as roam.yaml describes it.
//
// The file is the one that nodes run by: "roam config example" prints one, "roam config
// check" finds its faults, docs/formats/roam-yaml.md tells every key. An application
// names it and the Region that it runs in, and gets the Config of a roam.Store:
//
//	d, err := deployment.Open(ctx, "roam.yaml", "eu-west-1", deployment.Options{})
//	if err != nil {
//		return err
//	}
//	defer d.Close()
//	store, err := roam.Open(ctx, d.Config())
//	if err != nil {
//		return err
//	}
//	defer store.Close() // before d
//
// The Config has the engines and side stores of all Regions, which one takes the writes,
// the read-after-write mode and the timeouts. Its Links measure how old what this Region
// has of the others is, so that strict routes refuse when nothing was heard for too long:
// whether nodes push logs or servers replicate by themselves, and with no node's help.
// Where all Regions have one store that shows at once what any of them has acknowledged,
// Aurora DSQL or a strongly consistent table of DynamoDB, there are none.
// What is no matter of the file, such as Observe, is set on the Config before it is used.
//
// Which Region takes the writes may change, where members of a control plane agree on it.
// Name the nodes that tell in Options.Feed, a file that keeps what they said last in
// Options.Topology, and give the Store to the Deployment when it is open:
//
//	d.Attach(store)
//
// From then on the Store writes where the lease is, in a planned switchover without a
// gap that users notice; the age of what is here is measured by the primary there is; and
// connections to who was the primary are made anew. With all nodes away, the last word
// stands, also of an application that starts then. The node that is followed hears how many
// answers were stale, refused or otherwise not as good as they should be, and how writes fare,
// so that alarms are of what users see; Options.NoReports keeps that here.
//
// This Region's engine and side store must answer when Open is called. A Region that is
// away holds nobody up: it is tried until it can be opened, and calls to it fail with
// engine.ErrUnreachable meanwhile, at once, as those to a Region that is cut off do.
//
// All Regions' endpoints are opened, those of DynamoDB and Aurora DSQL too, so the
// application must be let through to them and have the rights. The AWS SDK comes with
// these two; a program that is built with -tags noaws has neither.
//
// An engine in memory is in one process. So applications share a Region's sessions, and
// Regions each other's, with servers only; in memory there is a deployment of one Region
// and one application, which is good for trying things out and for tests.
package deployment
