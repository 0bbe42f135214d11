// Package cli turns a command line into work and an exit code.
package cli
