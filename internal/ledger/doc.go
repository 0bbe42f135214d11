// Package ledger is what the members of the control plane have agreed on.
//
// That is what the deployment is, which Region holds the lease, the planned switchover
// that is under way, routing controls, what the judge must not forget, events and
// receipts.
//
// A State is plain data. Commands change it, one after the other, the same at every
// member: there is no clock and no chance in it, times come with the commands. A command
// that does not fit the State any more is refused and changes nothing.
//
// The bytes of commands and States are JSON; docs/formats/ledger.md tells their fields.
package ledger
