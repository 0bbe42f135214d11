// Package awstest answers tests as the parts of AWS that Roam's drivers ask.
//
// It keeps to the bytes that go over the wire, and checks the signature of each request. It
// needs no socket: a World is what an SDK sends its requests with, so tests run in virtual time.
package awstest
