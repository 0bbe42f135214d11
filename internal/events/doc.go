// Package events tells others what members of the control plane have agreed on and seen.
//
// The events themselves are the ledger's: a ring of the newest, numbered. A Deliverer
// posts them to webhooks, signed, each at least once and in order. Stream serves them to
// whoever asks, from a number on and then as they come.
package events
