// Package clock gives the fakes their time: the real one, or one that a test moves.
package clock
