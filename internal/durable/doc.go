// Package durable keeps files whole.
//
// What is replaced is what it was or what it is to be, also after a crash; what one
// process has, no other takes.
package durable
