// Package drawtest draws what tests do to an engine and to a core alike, to compare the two.
// It draws keys, operations, records of other Regions and pieces of their logs, as they may
// come and as they had better not.
package drawtest
