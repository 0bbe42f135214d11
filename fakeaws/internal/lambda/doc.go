// Package lambda is a fake of Lambda that runs real bootstraps behind its Runtime API.
//
// A function is a program as it is deployed to provided.al2023: it is started with that
// runtime's environment, asks for invocations, and is killed when its time is up. What is
// invoked later is tried again as Lambda does. Time, in here, is the machine's where a
// program runs, and the fakes' where something waits to be tried again.
package lambda
