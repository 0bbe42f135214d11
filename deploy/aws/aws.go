package aws

import "embed"

// Files are the templates, *.yaml, and stack-policy.json: what no update may do to a stack that
// keeps sessions. docs/aws/templates.md tells of each, and package awsplan in which order they are used.
//
//go:embed *.yaml stack-policy.json
var Files embed.FS
