// Package iam judges whether a policy allows a call.
//
// It knows what policies of roles, users and topics need here: Effect, Principal, Action,
// Resource and conditions by the operators that Decode takes. What it does not know it
// refuses to read, so that no policy is ever taken for another one.
package iam
