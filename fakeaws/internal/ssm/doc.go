// Package ssm fakes the Parameter Store of Systems Manager: text parameters that are read and written.
package ssm
