// Package pause waits: no longer than a context lasts, and longer from try to try.
package pause
