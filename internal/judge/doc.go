// Package judge decides what to do about a Region in trouble.
//
// It looks at what every member of the control plane sees of every Region, once a
// period, and says which links are impaired, which Regions users should leave, and
// whether another Region should become the primary. It follows rules that an operator
// can check by hand, and each finding tells its rule and its figures:
//
//   - Without fresh reports from a majority of members there is no verdict at all.
//   - A Region is lost if a majority of members say so, in M of the last N periods.
//     Missing data is never good news, and by itself never a reason to act.
//   - A candidate must have shown that it is well, and that it is at most MaxLag behind
//     the last heartbeat the members know; the most caught-up one is taken.
//   - There is one failover in a cooldown, and few in a day. What flaps is told to be
//     bad until it has been quiet.
//   - Nothing ever goes back by itself: a Region that lost the lease is no candidate
//     until somebody readmits it.
//
// The package is pure: Judge maps a state and observations to a state and a verdict,
// and time comes in as an argument. It carries nothing out. docs/judge.md tells all
// rules and figures.
package judge
