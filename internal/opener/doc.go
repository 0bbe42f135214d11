// Package opener opens the engines that a deployment's file describes.
//
// It is what nodes and applications share: the file itself, passwords and
// certificates that it names, an engine that is tried until it can be opened, and how
// old what a replica has is.
package opener
