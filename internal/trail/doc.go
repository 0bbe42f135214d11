// Package trail is what engines that keep their log on servers do alike about it.
//
// It knows when a log may be trimmed, and takes in a batch that is too long by pieces.
package trail
