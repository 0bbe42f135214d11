// Package awsdeploy carries a plan out on AWS, and takes it away again.
//
// CloudFormation keeps the state: each step looks at what is there, does what is missing, and looks
// again, so that whatever was interrupted goes on where it was when the same is asked for again. What
// CloudFormation can't do, such as taking a secondary out of a Global Datastore, is done beside it.
package awsdeploy
