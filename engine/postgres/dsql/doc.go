// Package dsql opens engines on Aurora DSQL, with tokens of AWS for passwords.
package dsql
