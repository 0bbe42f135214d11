// Package primary tells CloudWatch whether one Region is the primary.
//
// The metric is IsGlobalPrimary, 1 or 0. It is told twice a minute and at once when it changes,
// and not at all while it is not known: a health check of Route 53 that follows it takes silence
// for what it was told to. So failover records move without the control plane of Route 53.
package primary
