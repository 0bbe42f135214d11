// Package cloudwatch is a fake of CloudWatch's metrics and alarms.
//
// It takes metrics by PutMetricData, in CBOR, JSON and forms, and from lines that functions
// print in the embedded metric format. Alarms look at M of N periods.
package cloudwatch
