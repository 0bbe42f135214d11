// Package aws holds the templates of CloudFormation that make a deployment on AWS.
package aws
