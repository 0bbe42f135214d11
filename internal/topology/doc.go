// Package topology reads the file that describes a deployment, and finds all its
// faults at once.
package topology
