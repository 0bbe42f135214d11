// Package cfn reads templates of CloudFormation and says what is wrong with them.
//
// It knows the language (references, conditions, functions), what each type of resource takes, by a slice of
// AWS's own schemas that tools/cfnspec makes, and a few rules of Roam's: what went wrong on AWS for others.
// What it finds has the line where it is. It can also render a template with parameters, so that tests may look
// at what comes of it.
package cfn
