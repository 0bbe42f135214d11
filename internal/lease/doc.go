// Package lease decides who may write where one Region takes all writes
// (rules R5–R7). It is pure: time comes in as an argument, from a clock that does not step, and
// what is to be done comes out.
//
// There are four parts. A Holder, in the node of the primary Region, keeps the lease of
// its epoch in its server, which looks at it in the step that writes. It renews it with
// the quorum, and where that is out of reach with the word of every other member. A
// Voter, in each member, gives that word, and gives its consent to the next epoch. A
// Grantor, in the quorum's leader, says from when on the next epoch may be granted. A
// Round, there too, counts consents.
//
// Why no two servers take writes at a time. A server writes until TTL less Guard after it
// was asked for its clock, and that was before the renewal was. Either the quorum knows
// of the renewal: then who grants waits for TTL and Guard since then, or, as a new
// leader, since it was elected, which was later. Or every other member gave its word:
// then none of them consents to another epoch for TTL and Guard, and no majority is
// without one of them. Whoever has consented gives its word to no earlier epoch again,
// not even after a restart. Guard is what clocks may differ by in a TTL, and is as long
// as any try of a write may take on its way.
//
// A planned switchover does not wait. The next epoch is reserved for a node, whose Holder
// is armed: it renews as the present one does, and gives its servers nothing before it
// has seen that the present epoch is over, for good. Renewals of both count for whoever
// would grant the epoch after.
package lease
