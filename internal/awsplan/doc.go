// Package awsplan says which stacks of CloudFormation a deployment on AWS has, in which Regions, and in
// which order they come and go.
//
// It asks nobody anything: what it makes of Settings is a Plan, a list of Steps that somebody else
// carries out. The templates that Steps name are those of deploy/aws. A Plan can be carried out again from its
// beginning whenever it was interrupted, and a Plan of more Regions over one of fewer: a stack that is there
// and has the parameters that it is to have needs nothing.
package awsplan
