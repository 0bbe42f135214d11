// Package emf tells Amazon CloudWatch how an application's session writes go.
//
// It prints lines of CloudWatch's embedded metric format, which CloudWatch Logs makes metrics of:
// no API is called, and no SDK is needed. The alarms of deploy/aws, and the promoter of
// docs/aws-lambda.md, go by them. Metrics of Amazon's servers see nothing of the way between
// Regions; these do.
package emf
