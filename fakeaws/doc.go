// Package fakeaws runs fakes of the AWS services that a session store across Regions needs.
//
// It has what no emulator has: ElastiCache's Global Datastore, over real Valkey servers that
// follow each other, and the routing controls of Application Recovery Controller with their
// five endpoints. Around them are Route 53 with a name server, SNS, Lambda that runs real
// bootstraps, and CloudWatch's alarms. What one does reaches the others as in AWS: a failover
// publishes an event, the event invokes a function, the function changes a record, and the
// name server answers something else.
//
// SDKs and the AWS CLI talk to it as they are, with --endpoint-url or AWS_ENDPOINT_URL. It
// checks their signatures, what they are scoped to, and policies if there are any. Rules take
// services away, throttle them, slow them down and lose their answers.
//
// Everything is on this machine's loopback, and ends with Close. docs/fakeaws.md tells what is
// as in AWS and what is not.
package fakeaws
