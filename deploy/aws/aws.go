package aws

import "embed"

// Templates are the files *.yaml of this folder. docs/aws/templates.md tells of each, and package awsplan in
// which order they are used.
//
//go:embed *.yaml
var Templates embed.FS
