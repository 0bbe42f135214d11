// Package routing keeps the switches that say where users and writes go, and the
// safety rules that no change of them may break.
//
// Controls and rules mean what they mean in ARC (Amazon Application Recovery
// Controller): a batch of changes is made whole or not at all, an assertion rule
// holds of what the batch leaves behind, a gating rule lets its targets be changed
// only while its gates allow it, and for a while after a change the controls of its
// rules take no other. One rule is ours and can't be overridden: a writer's control
// is turned on only for the Region that holds the lease.
//
// The package is pure: the lease and the time come in as arguments.
package routing
