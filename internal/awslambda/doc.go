// Package awslambda reconciles a Region's DNS with what ElastiCache says of who is the primary.
//
// A Reconciler is woken by events and by a schedule, and believes neither: it asks which role
// its own Region's replication group has, compares, and moves the record, the routing control
// or the metric that it is configured to drive only if this Region is the primary and they say
// otherwise. So events may come late, twice, in any order, of other clusters or broken; the
// worst that one which never comes costs is a minute, until the schedule.
//
// A Promoter is for deployments without a control plane of ours. In the Region that is to take
// over, it asks alarms, lag and its memory, and promotes its Region once if all rules say so.
//
// A Sweeper is for strong tables of DynamoDB, which delete nothing by themselves: it deletes what
// is past its time.
//
// What to do is decided by Decide and Judge, which have no clock and no network.
package awslambda
