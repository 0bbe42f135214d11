// Package check looks at a running deployment and says what is not as it should be.
//
// What is asked is in look.go and look_control.go; what it means is judged without
// asking anybody, in the files that begin with judge. What could not be asked is unknown,
// and never good.
package check
