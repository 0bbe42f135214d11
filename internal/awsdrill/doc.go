// Package awsdrill moves the primary of a Global Datastore and tells, stage by stage, how long
// it takes until shops write again.
//
// A World is AWS on this machine (package fakeaws): a Global Datastore of two Regions over
// real servers, topics, a private zone, routing controls, alarms, and the Lambda function of
// cmd/roam-lambda in each Region, reconciler and promoter, run as Lambda does and held to their own policies. Three names
// lead to the primary: a plain record, failover records by routing controls, and failover
// records by health checks on a metric. For each name there is a shop in each Region, whose
// visitors write all the time.
package awsdrill
